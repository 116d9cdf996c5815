// The last word of either side: a receive ends when it has heard the source's, and does not wait for
// a question that cannot come; and why the other side left is known, though it can't be answered.
import { join } from 'node:path'

import t from 'tap'

import { migrate, openTap, receive } from '../../lib/index.js'
import { temporary } from '../../testbed/support/images.js'
import { rawDestination, rawSource } from '../support/raw-peers.js'

/** Each is answered; the answers meet a connection that is closed. Few enough to leave at once: what
 * waits behind them would be lost with the connection. */
const kPings = 5

t.test('a receive whose source said goodbye ends at once, every time', async (t) => {
  for (let i = 0; i < 30; i++) {
    await using source = await openTap({ source: { memory: '1MiB' }, name: 'disk' })
    await using target = await openTap({ source: { memory: '1MiB' }, name: 'disk' })
    // Were the word lost, it would wait for as long as that: the test would not end.
    const receiver = await receive({ disks: [{ destination: target }], linkTimeout: '10min' })
    const report = await migrate({ disks: [{ source }], destination: receiver.address })
    t.equal(report.equal, true)
    await receiver.done
    await receiver.close()
  }
})

t.test('a cancel is heard, though what came before it cannot be answered any more', async (t) => {
  await using receiver = await receive({ disks: [{ destination: join(temporary(t), 'disk') }] })
  const failed = new Promise<string>((resolve) => {
    receiver.on('failed', ({ error }) => resolve(error.code))
  })
  const { sender, say, hears } = await rawSource(t, receiver.address)
  say({
    type: 'offer', migration: 'm', streams: 1, equality: true, reuse: true, machine: null,
    disks: [{ name: 'disk', size: 1 << 20, blockSize: 4096, epoch: 0, places: [] }]
  })
  await hears('accept')
  for (let number = 0; number < kPings; number++) say({ type: 'ping', number })
  say({ type: 'cancel', keep: true })
  await sender.close()
  t.equal(await failed, 'CANCELLED')
})

t.test('why the destination failed is heard, though it cannot be answered any more', async (t) => {
  const destination = await rawDestination((session, message) => {
    if (message.type !== 'offer') return
    for (let number = 0; number < kPings; number++) session.send(JSON.stringify({ type: 'ping', number }))
    session.send(JSON.stringify({ type: 'failed', code: 'NO_SPACE', message: 'full' }))
    void session.close()
  })
  t.teardown(() => destination.close())
  await using source = await openTap({ source: { memory: '1MiB' } })
  await t.rejects(migrate({ disks: [{ source }], destination: destination.address }), { code: 'NO_SPACE' })
})
