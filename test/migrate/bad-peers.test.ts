// Peers that speak nonsense, another version, or nothing: a clear error, and the next migration
// works as ever.
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'

import t from 'tap'

import { migrate, openTap, receive } from '../../lib/index.js'
import { hashOf, makeImage, temporary } from '../../testbed/support/images.js'
import { dial, header, pretend } from '../support/rogue.js'

t.test('a receiver that is spoken to in nonsense', async (t) => {
  const dir = temporary(t)
  const image = makeImage(join(dir, 'source'), 4 << 20)
  await using receiver = await receive({ disks: [{ destination: join(dir, 'target') }] })
  const nonsense: Array<[string, Buffer, RegExp]> = [
    ['garbage', Buffer.alloc(100, 'GET / HTTP/1.1\r\n'), /not a blockferry peer/],
    ['another version', header({ version: 9 }), /wire version 9/],
    ['a broken header', header({ type: 1, payload: 7 }), /checksum/],
    ['an enormous frame', header({ type: 5, payload: 0xffffffff }), /checksum|length/]
  ]
  for (const [name, bytes, words] of nonsense) {
    const { socket, answer } = await dial(receiver.address)
    socket.write(bytes)
    t.match((await answer()).toString('latin1'), words, name)
  }
  for (const length of [0, 1, 20, 47]) {
    const { socket, answer } = await dial(receiver.address)
    socket.end(randomBytes(length))
    await answer()
  }
  t.pass('cut short at every length')
  // Many that connect and say nothing do not keep others out for ever: they are dropped at once
  // when too many wait.
  const silent = await Promise.all(Array.from({ length: 100 }, () => dial(receiver.address)))
  for (const { socket } of silent) socket.destroy()
  const report = await migrate({ disks: [{ source: image }], destination: receiver.address })
  t.equal(report.equal, true, 'a good peer is served after all that')
  t.equal(await hashOf(join(dir, 'target')), await hashOf(image))
})

t.test('a destination that answers nonsense', async (t) => {
  const cases: Array<[string, Buffer, string]> = [
    ['garbage', Buffer.alloc(200, 'HTTP/1.1 400 Bad Request\r\n'), 'PROTOCOL'],
    ['another version', header({ version: 2, type: 2 }), 'VERSION'],
    ['a header with a wrong checksum', header({ type: 2 }), 'CHECKSUM']
  ]
  for (const [name, bytes, code] of cases) {
    const { server, address } = await pretend((socket) => { socket.write(bytes) })
    await using source = await openTap({ source: { memory: '1MiB' } })
    await t.rejects(migrate({ disks: [{ source }], destination: address }), { code, owner: 'source' }, name)
    t.equal(source.state, 'open')
    server.close()
  }
})

t.test('a destination that hangs up, or never answers', async (t) => {
  await using source = await openTap({ source: { memory: '1MiB' } })
  const rude = await pretend((socket) => socket.destroy())
  await t.rejects(migrate({ disks: [{ source }], destination: rude.address }),
    { code: 'PEER_GONE', owner: 'source' })
  rude.server.close()
  const mute = await pretend(() => {})
  await t.rejects(migrate({ disks: [{ source }], destination: mute.address, linkTimeout: '1s' }),
    { code: 'TIMEOUT', owner: 'source' })
  mute.server.close()
  t.equal(source.state, 'open')
})
