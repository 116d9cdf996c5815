// The control socket: its protocol, its file, bad clients.
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'

import { ControlClient } from '../../lib/control/client.js'
import { commandHandler } from '../../lib/control/commands.js'
import { DiskHost } from '../../lib/control/disk-host.js'
import type { Handler } from '../../lib/control/server.js'
import { ControlServer } from '../../lib/control/server.js'

async function start (t: Test, handler: Handler) {
  const folder = mkdtempSync(join(tmpdir(), 'bf-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'control')
  const server = new ControlServer(handler)
  await server.listen(path)
  t.teardown(() => server.close())
  return { folder, path, server }
}

/** Sends text, ends, and answers every line that comes back. */
async function talk (path: string, text: string | Buffer): Promise<any[]> {
  const socket = connect(path)
  socket.on('error', () => {})
  let answer = ''
  socket.setEncoding('utf8').on('data', (data) => { answer += data })
  socket.end(text)
  await once(socket, 'close')
  return answer.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line))
}

const echo: Handler = async (command, request, emit) => {
  emit({ event: 'heard', command } as any)
  return request
}

t.test('requests are answered by id, also to a client that only half closes', async (t) => {
  const { path } = await start(t, echo)
  t.same(await talk(path, '{"id":7,"command":"a","x":1}\n\n{"id":8,"command":"b"}\n'), [
    { id: 7, event: { event: 'heard', command: 'a' } },
    { id: 8, event: { event: 'heard', command: 'b' } },
    { id: 7, result: { x: 1 } },
    { id: 8, result: {} }
  ])
})

t.test('nonsense gets an error and the end of the connection, others go on', async (t) => {
  const { path } = await start(t, echo)
  const good = await ControlClient.connect(path)
  t.teardown(() => good.close())
  for (const text of ['hello\n', '[]\n', 'null\n', '{"id":"1","command":"a"}\n', '{"id":1}\n', '{"id":1.5,"command":"a"}\n', '\x00\xff\n']) {
    t.match(await talk(path, text), [{ id: null, error: { code: 'PROTOCOL', message: /no request/ } }], JSON.stringify(text))
  }
  t.match(await talk(path, Buffer.alloc(2 ** 20 + 1, 'x')), [{ id: null, error: { code: 'PROTOCOL', message: /too long/ } }])
  t.same(await talk(path, '{"id":1,"command":"cut off"'), [], 'an unfinished line is no request')
  t.same(await good.request('status', { x: 1 }), { x: 1 })
})

t.test('errors keep their details', async (t) => {
  const { path } = await start(t, async () => { throw Object.assign(new Error('boom'), { code: 'IO_ERROR', errno: 5 }) })
  const client = await ControlClient.connect(path)
  t.teardown(() => client.close())
  await t.rejects(client.request('status', {}), { code: 'IO_ERROR', message: 'boom', errno: 5, owner: null })
})

t.test('the file: for its owner only, replaced when stale, never when in use or no socket', async (t) => {
  const { path, folder, server } = await start(t, echo)
  t.equal(statSync(path).mode & 0o777, 0o600)
  await t.rejects(new ControlServer(echo).listen(path), { code: 'ADDRESS_IN_USE' })
  const file = join(folder, 'file')
  writeFileSync(file, 'precious')
  await t.rejects(new ControlServer(echo).listen(file), { code: 'ADDRESS_IN_USE' })
  t.equal(statSync(file).size, 8)
  await t.rejects(new ControlServer(echo).listen(join(folder, 'none', 'x')), { code: 'NOT_FOUND' })
  await t.rejects(ControlClient.connect(join(folder, 'none')), { code: 'NOT_FOUND' })
  await t.rejects(ControlClient.connect(file), { code: /INVALID|NOT_FOUND/ })
  await server.close()
  await server.close()
  t.notOk(existsSync(path))
})

t.test('a stale socket is replaced', async (t) => {
  const { folder } = await start(t, echo)
  const path = join(folder, 'stale')
  const { spawnSync } = await import('node:child_process')
  const program = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  spawnSync(process.execPath, ['-e', program])
  t.ok(statSync(path).isSocket(), 'left behind')
  chmodSync(path, 0o777)
  await t.rejects(ControlClient.connect(path), { code: 'NOT_FOUND', message: /no process listens/ })
  const server = new ControlServer(echo)
  await server.listen(path)
  t.equal(statSync(path).mode & 0o777, 0o600)
  await server.close()
})

t.test('close() lets the last answers out and ends connections', async (t) => {
  let answer: () => void = () => {}
  const late = async () => await new Promise<object>((resolve) => { answer = () => resolve({ late: true }) })
  const { path, server } = await start(t, late)
  const client = await ControlClient.connect(path)
  const asked = client.request('status', {})
  const idle = await ControlClient.connect(path)
  await new Promise((resolve) => setImmediate(resolve))
  while (answer.toString() === '() => {}') await new Promise((resolve) => setImmediate(resolve))
  answer()
  t.match(await asked, { late: true })
  await server.close()
  await t.rejects(idle.request('status', {}), { code: 'PEER_GONE' })
  await t.rejects(ControlClient.connect(path), { code: 'NOT_FOUND' })
})

t.test('a client that never reads does not fill the memory with progress', async (t) => {
  let emitted = 0
  const { path } = await start(t, async (_command, _request, emit) => {
    for (let round = 0; round < 100; round++) {
      for (let i = 0; i < 100; i++) emit({ event: 'progress', padding: 'x'.repeat(1000), emitted: ++emitted } as any)
      await new Promise((resolve) => setImmediate(resolve))
    }
    return {}
  })
  const socket: Socket = connect(path)
  socket.pause()
  socket.write('{"id":1,"command":"a"}\n')
  while (emitted < 10_000) await new Promise((resolve) => setImmediate(resolve))
  let bytes = 0
  let last = ''
  socket.setEncoding('utf8').on('data', (text) => {
    bytes += text.length
    last = (last + text).slice(-200)
  })
  socket.resume()
  while (!last.includes('result')) await new Promise((resolve) => setImmediate(resolve))
  t.ok(bytes < 4 * 2 ** 20, `${bytes} of 10 MB`)
  t.match(last, /\{"id":1,"result":\{\}\}\n$/, 'the result came')
  socket.destroy()
})

t.test('commands check what they get', async (t) => {
  const host = new DiskHost({ server: null, track: false, onEvent: () => {} })
  const { path } = await start(t, commandHandler(host))
  const client = await ControlClient.connect(path)
  t.teardown(() => client.close())
  const ask = async (command: string, request: object) => await client.request(command as 'status', request)
  t.match(await ask('status', {}), { disks: [], running: [], past: [], clients: 0 })
  await t.rejects(ask('fly', {}), { code: 'PROTOCOL', message: /no command fly/ })
  await t.rejects(ask('toString', {}), { code: 'PROTOCOL' })
  await t.rejects(ask('status', { more: 1 }), { code: 'PROTOCOL', message: /status\.more/ })
  await t.rejects(ask('send', { to: 5 }), { code: 'PROTOCOL', message: /send\.to/ })
  await t.rejects(ask('send', { to: '127.0.0.1:1', disks: [] }), { code: 'PROTOCOL', message: /send\.disks/ })
  await t.rejects(ask('send', { to: '127.0.0.1:1', machine: {} }), { code: 'PROTOCOL', message: /send\.machine/ })
  await t.rejects(ask('send', { to: '127.0.0.1:1' }), { code: 'NOT_FOUND', message: /no disk yet/ })
  await t.rejects(ask('cancel', { destination: 'burn' }), { code: 'PROTOCOL', message: /cancel\.destination/ })
  await t.rejects(ask('cancel', { migration: 'x' }), { code: 'NOT_FOUND' })
  await t.rejects(ask('pause', {}), { code: 'NOT_FOUND' })
  t.same(await host.close(), [])
})

t.test('a server that answers with nonsense', async (t) => {
  const { folder } = await start(t, echo)
  const path = join(folder, 'strange')
  for (const answer of ['what?\n', '{"id":99,"result":{}}\n', '{}\n']) {
    const server = createServer((socket) => socket.end(answer))
    server.listen(path)
    await once(server, 'listening')
    const client = await ControlClient.connect(path)
    await t.rejects(client.request('status', {}), { code: 'PROTOCOL' })
    server.close()
  }
})
