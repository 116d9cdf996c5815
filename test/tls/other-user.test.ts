// Without keys a host's loopback is one user's: nobody else reads, writes or receives a disk there.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'

import t from 'tap'

import { migrate, NbdServer, openTap, receive } from '../../lib/index.js'
import { makeImage, temporary } from '../../testbed/support/images.js'
import { asNobody, connecting, passing } from '../support/other-user.js'
import { makePair } from '../support/pair.js'
import { kNeedsRoot } from '../support/root.js'

const skip = kNeedsRoot

t.test('NBD over TCP: another user is hung up on, this one is served', { skip }, async (t) => {
  for (const host of ['127.0.0.1', '::1']) {
    await using tap = await openTap({ source: { memory: '1MiB' } })
    await using server = new NbdServer()
    server.add(tap)
    const { port } = await server.listen({ host, port: 0 }) as { port: number }
    if (host === '127.0.0.1') {
      t.equal(await asNobody(t, connecting(port)).line(), '""')
      t.equal(server.stats().refused, 1)
    }
    const socket = connect(port, host)
    const [greeting] = await once(socket, 'data')
    t.match(String(greeting), /^NBDMAGIC/)
    socket.destroy()
  }
})

t.test('NBD over TCP with `plain`: anybody is served', { skip }, async (t) => {
  await using tap = await openTap({ source: { memory: '1MiB' } })
  await using server = new NbdServer({ plain: true, handshakeTimeoutMs: 300 })
  server.add(tap)
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 }) as { port: number }
  t.match(await asNobody(t, connecting(port)).line(), /NBDMAGIC/)
})

t.test('a receiver tells another user why not, and goes on', { skip }, async (t) => {
  const pair = await makePair(t)
  const refused = new Promise<{ error: { code: string } }>((resolve) => pair.receiver.on('refused', resolve))
  t.match(await asNobody(t, connecting(pair.receiver.address.port)).line(), /UNAUTHORIZED|number 65534/i)
  t.equal((await refused).error.code, 'UNAUTHORIZED')
  const report = await migrate({
    disks: [{ source: pair.source }], destination: `127.0.0.1:${pair.receiver.address.port}`
  })
  t.equal(report.equal, true)
})

t.test('a source sends nothing to a port that another user listens on', { skip }, async (t) => {
  const dir = temporary(t)
  const source = makeImage(`${dir}/source.img`, 4 << 20)
  await using receiver = await receive({ disks: [{ destination: `${dir}/target.img`, name: 'web' }], tls: false })
  const port = Number(await asNobody(t, passing(receiver.address.port)).line())
  const options = { disks: [{ source, name: 'web' }], destination: `127.0.0.1:${port}` }
  await t.rejects(migrate(options), { code: 'UNAUTHORIZED', owner: 'source', message: /65534/ })
  t.throws(() => readFileSync(`${dir}/target.img`), { code: 'ENOENT' })
  // Asked for by name it goes on.
  t.equal((await migrate({ ...options, tls: false })).equal, true)
  for (const tap of receiver.taps.values()) await tap.close()
})
