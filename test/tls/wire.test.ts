// What somebody on the wire can do: damage it, cut it, speak nonsense, knock again and again.
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import type { Test } from 'tap'
import t from 'tap'

import { migrate } from '../../lib/index.js'
import { hashOf, temporary } from '../../testbed/support/images.js'
import { Authority, psk, pskFile } from '../support/keys.js'
import type { Pair } from '../support/pair.js'
import { makePair } from '../support/pair.js'
import { Proxy } from '../support/proxy.js'
import { checkUnharmed, failureOf, reach } from '../support/unharmed.js'
import { Writer } from '../../testbed/support/writer.js'

const folder = temporary(t)
const keys = pskFile(folder, 'keys.psk', 'alice')
const ca = new Authority(folder)
const host = ca.issue('host', ['127.0.0.1'])
const source = ca.issue('source', ['source.example'])

t.test('a bit that is flipped inside TLS is found, and costs a connection', async (t) => {
  const pair = await makePair(t, 48 << 20, psk(keys))
  const proxy = await Proxy.to(pair.receiver.address)
  t.teardown(() => proxy.close())
  const migration = migrate({
    disks: [{ source: pair.source }], destination: proxy.address, tls: psk(keys), compression: 'off'
  })
  const codes: string[] = []
  migration.on('reconnecting', ({ error }) => codes.push(error.code))
  migration.on('started', () => proxy.flipAfter(1 << 20))
  const report = await migration
  t.equal(report.equal, true)
  t.equal(codes.length, 1)
  t.match(codes[0], /CHECKSUM|PEER_GONE/)
  t.equal(await hashOf(pair.target), await hashOf(pair.image))
})

t.test('a link that is cut without a goodbye is a lost link, never an end', async (t) => {
  const pair = await makePair(t, 32 << 20, psk(keys))
  const writer = await Writer.start(pair.socket, 'web', 256)
  t.teardown(() => writer.stop())
  const proxy = await Proxy.to(pair.receiver.address)
  t.teardown(() => proxy.close())
  const received: string[] = []
  pair.receiver.on('failed', ({ error }) => received.push(error.code))
  const migration = migrate({
    disks: [{ source: pair.source }],
    destination: proxy.address,
    tls: psk(keys),
    reconnect: 0,
    budgets: { bandwidth: '8MB/s' }
  })
  await reach(migration, 'progress')
  proxy.cut()
  t.match(await failureOf(migration), { code: 'PEER_GONE', owner: 'source' })
  await reachCode(received)
  t.match(received, ['PEER_GONE'])
  await checkUnharmed(t, pair, writer, pair.receiver.address, pair.target, psk(keys))
})

async function reachCode (codes: string[]): Promise<void> {
  while (codes.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
}

/** What a stranger's program says when it is told to connect. */
async function stranger (command: string, args: string[]): Promise<{ code: unknown, output: string }> {
  return await new Promise((resolve) => {
    const child = execFile(command, args, { timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ code: error?.code ?? 0, output: stdout + stderr })
    })
    child.stdin!.on('error', () => {})
    child.stdin!.end('hello\n')
  })
}

async function checkStrangers (
  t: Test, pair: Pair, strangers: Array<[string, string[]]>
): Promise<void> {
  const { port } = pair.receiver.address
  for (const [command, args] of strangers) {
    const { output } = await stranger(command, args.map((arg) => arg.replace('PORT', String(port))))
    t.match(output, /alert|error|closed/i, `${command} ${args[0]}: is shown the door`)
    t.notMatch(output, /BFRY/)
  }
}

t.test("other programs' clients", async (t) => {
  const pair = await makePair(t, 8 << 20, host)
  const events: string[] = []
  pair.receiver.on('started', () => events.push('started'))
  const openssl = ['s_client', '-quiet', '-CAfile', ca.certificate]
  await checkStrangers(t, pair, [
    ['openssl', [...openssl, '-connect', '127.0.0.1:PORT']],
    ['openssl', [...openssl, '-tls1_2', '-connect', '127.0.0.1:PORT']],
    ['openssl', ['s_client', '-quiet', '-psk', '00ff00ff00ff00ff00ff00ff00ff00ff', '-connect', '127.0.0.1:PORT']],
    ['gnutls-cli', ['--x509cafile', ca.certificate, '--port', 'PORT', '127.0.0.1']],
    ['gnutls-cli', ['--insecure', '--priority', 'NORMAL:-VERS-ALL:+VERS-TLS1.2', '--port', 'PORT', '127.0.0.1']]
  ])
  t.same(events, [])
  const report = await migrate({
    disks: [{ source: pair.source }], destination: pair.receiver.address, tls: source
  })
  t.equal(report.equal, true, 'who has a certificate gets through')
})

t.test('who has the key, and another program', async (t) => {
  const pair = await makePair(t, 8 << 20, psk(keys))
  const { output } = await stranger('gnutls-cli', [
    '--pskusername', 'alice', '--pskkey', '00'.repeat(32), '--priority', 'NORMAL:-KX-ALL:+ECDHE-PSK',
    '--port', String(pair.receiver.address.port), '127.0.0.1'
  ])
  t.match(output, /alert|error/i, 'a wrong key')
})

const entries = (path: string) => readdirSync(path).length

/** Descriptors and threads that moves leave behind. */
async function leftBy (moves: () => Promise<void>): Promise<{ files: number, threads: number }> {
  await moves()
  const files = entries('/proc/self/fd')
  const threads = entries('/proc/self/task')
  await moves()
  return { files: entries('/proc/self/fd') - files, threads: entries('/proc/self/task') - threads }
}

t.test('connections that come to nothing leave nothing behind', async (t) => {
  const pair = await makePair(t, 4 << 20, psk(keys))
  const otherKeys = pskFile(folder, 'others.psk', 'alice')
  const knock = async (): Promise<void> => {
    for (let i = 0; i < 10; i++) {
      const migration = migrate({
        disks: [{ source: pair.source }], destination: pair.receiver.address, tls: psk(otherKeys)
      })
      t.equal((await failureOf(migration)).code, 'UNAUTHORIZED')
    }
    const sockets: Socket[] = Array.from({ length: 200 }, () => connect(pair.receiver.address))
    for (const socket of sockets) {
      socket.on('error', () => {})
      socket.write(Buffer.from([22, 3, 1, 2, 0, 1]))
    }
    await new Promise((resolve) => setTimeout(resolve, 200))
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  const { files, threads } = await leftBy(knock)
  t.ok(files < 20, `${files} more files`)
  t.ok(threads < 20, `${threads} more threads`)
  const report = await migrate({
    disks: [{ source: pair.source }], destination: pair.receiver.address, tls: psk(keys)
  })
  t.equal(report.equal, true)
  t.equal(await hashOf(pair.target), await hashOf(pair.image))
})
