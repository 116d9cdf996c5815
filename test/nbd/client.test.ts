// The NBD client, against the library's own server and against servers that misbehave.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'

import { openTap } from '../../lib/index.js'
import { NbdClient, NbdError } from '../../lib/nbd/client.js'
import { NbdServer } from '../../lib/nbd/server.js'

const size = 8 << 20

async function serve (t: Test) {
  const tap = await openTap({ source: { memory: size } })
  const server = new NbdServer()
  server.add(tap)
  const folder = mkdtempSync(join(tmpdir(), 'nbd-client-')) // a socket's path must be short
  const path = join(folder, 'socket')
  await server.listen(`unix:${path}`)
  t.teardown(async () => {
    await server.close()
    await tap.close()
    rmSync(folder, { recursive: true })
  })
  return { tap, server, path }
}

for (const structuredReplies of [true, false]) {
  t.test(`reads what was written, structured replies: ${structuredReplies}`, async (t) => {
    const { tap, path } = await serve(t)
    const client = await NbdClient.open({ path, exportName: 'disk', structuredReplies })
    t.equal(client.size, size)
    t.equal(client.readOnly, false)
    t.equal(client.minimumBlock, 1)
    const data = randomBytes(300_001)
    await client.write(4095, data)
    t.ok((await client.read(4095, data.length)).equals(data))
    await client.write(4096, data.subarray(0, 5000), { fua: true })
    await client.flush()
    await client.writeZeroes(8192, 1 << 20, { noHole: true })
    const expected = Buffer.alloc(2 << 20)
    data.copy(expected, 4095, 0, 1)
    data.copy(expected, 4096, 0, 4096)
    t.ok((await client.read(0, expected.length)).equals(expected))
    await client.trim(0, 4096)
    await client.disconnect()
    await client.disconnect()
    t.equal(tap.stats().writes, 4)
    await t.rejects(client.flush(), { code: 'CLOSED' })
  })
}

t.test('many requests in flight, by their handles', async (t) => {
  const { path } = await serve(t)
  const client = await NbdClient.open({ path })
  const blocks = Array.from({ length: 512 }, () => randomBytes(4096))
  await Promise.all(blocks.map((block, i) => client.write(i * 4096, block)))
  const seen = await Promise.all(blocks.map((_, i) => client.read(i * 4096, 4096)))
  t.ok(seen.every((block, i) => block.equals(blocks[i] as Buffer)))
  const last = client.write(0, randomBytes(4096))
  await client.disconnect()
  await last
})

t.test('errors carry their names', async (t) => {
  const { tap, path } = await serve(t)
  const client = await NbdClient.open({ path })
  const error = await client.write(size - 1, Buffer.alloc(2)).catch((error: unknown) => error)
  t.ok(error instanceof NbdError)
  t.match(error, { code: 'ENOSPC', message: /write of 2 bytes at 8388607/ })
  await t.rejects(client.read(size, 1), { code: 'EINVAL' })
  await t.rejects(client.read(0, 33 << 20), { code: 'INVALID' })
  await t.rejects(client.read(-1, 1), { code: 'INVALID' })
  await t.rejects(client.read(0.5, 1), { code: 'INVALID' })
  tap.refuse()
  await t.rejects(client.write(0, Buffer.alloc(512)), { code: 'EPERM' })
  t.ok((await client.read(0, 512)).equals(Buffer.alloc(512)))
  await client.disconnect()
})

t.test('a held write settles when the gate opens, or fails when the server closes', async (t) => {
  const { tap, server, path } = await serve(t)
  const client = await NbdClient.open({ path })
  await tap.quiesce()
  const held = client.write(0, Buffer.alloc(512, 1))
  await client.flush()
  tap.release()
  await held
  await tap.quiesce()
  const lost = client.write(0, Buffer.alloc(512, 2))
  await client.flush()
  await Promise.all([t.rejects(lost, { code: 'ESHUTDOWN' }), server.close()])
  await t.rejects(client.flush(), { code: 'PEER_GONE' })
  await client.disconnect()
})

t.test('what it can not open', async (t) => {
  const { path } = await serve(t)
  await t.rejects(NbdClient.open({}), { code: 'INVALID' })
  await t.rejects(NbdClient.open({ path: `${path}.none` }), { code: 'UNREACHABLE' })
  await t.rejects(NbdClient.open({ path, exportName: 'none' }), { code: 'NOT_FOUND' })
})

t.test('servers that misbehave', async (t) => {
  const greeting = Buffer.from('NBDMAGICIHAVEOPT\0\x03', 'latin1')
  const info = Buffer.from('0003e889045565a9' + '00000007' + '00000003' + '0000000c' +
    '0000' + '0000000000100000' + '0001' + '0003e889045565a9' + '00000007' + '00000001' +
    '00000000', 'hex')
  const simple = (handle: number, error: number) =>
    Buffer.from(`67446698${hex(error, 8)}${hex(handle, 16)}`, 'hex')
  const chunk = (type: string, handle: number, data: string) =>
    Buffer.from(`668e33ef0001${type}${hex(handle, 16)}${hex(data.length / 2, 8)}${data}`, 'hex')
  const cases: Array<[string, Buffer[], { code: string }]> = [
    ['garbage for a greeting', [Buffer.alloc(18, 1)], { code: 'PROTOCOL' }],
    ['no greeting', [], { code: 'PEER_GONE' }],
    ['garbage in the options', [greeting, Buffer.alloc(20, 1)], { code: 'PROTOCOL' }],
    ['garbage for a reply', [greeting, info, Buffer.alloc(16, 1)], { code: 'PROTOCOL' }],
    ['a reply to no request', [greeting, info, simple(99, 0)], { code: 'PROTOCOL' }],
    ['an error of its own', [greeting, info, simple(1, 4711)], { code: 'EINVAL' }],
    ['no reply', [greeting, info], { code: 'PEER_GONE' }],
    ['half the data', [greeting, info, Buffer.concat([simple(1, 0), Buffer.alloc(100)])],
      { code: 'PEER_GONE' }],
    ['data out of range', [greeting, info, chunk('0001', 1, hex(512, 16) + 'ff')],
      { code: 'PROTOCOL' }],
    ['a hole out of range', [greeting, info, chunk('0002', 1, hex(0, 16) + 'ffffffff')],
      { code: 'PROTOCOL' }],
    ['an oversize chunk', [greeting, info, Buffer.from(`668e33ef00010001${hex(1, 16)}ffffffff`,
      'hex')], { code: 'PROTOCOL' }]
  ]
  for (const [name, answers, error] of cases) {
    t.test(name, async (t) => {
      const server = createServer((socket) => { play(socket, answers).catch(() => {}) })
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      t.teardown(() => server.close())
      const { port } = server.address() as AddressInfo
      const where = { host: '127.0.0.1', port, structuredReplies: false }
      await t.rejects((async () => {
        const client = await NbdClient.open(where)
        await client.read(0, 512)
      })(), error)
    })
  }
})

/** Says the first answer at once, the others each after what the client says in between: 28 bytes
 * in its handshake with the empty name, and 28 in a request. */
async function play (socket: Socket, answers: Buffer[]): Promise<void> {
  let heard = 0
  socket.on('error', () => {})
  socket.on('data', (data) => { heard += data.length })
  for (const [i, answer] of answers.entries()) {
    while (heard < 28 * i) await once(socket, 'data')
    socket.write(answer)
  }
  while (heard < 28 * Math.min(answers.length, 2)) await once(socket, 'data')
  socket.end()
}

function hex (value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}
