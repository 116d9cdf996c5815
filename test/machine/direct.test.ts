// Memory that goes from QEMU to QEMU, past the migration's own port.

import t from 'tap'
import { missingNeed } from '../../testbed/support/needs.js'
import { stateOf } from './observed.js'
import { ProxiedGuest } from './proxied-guest.js'

const skip = (await missingNeed()) ?? false

t.test('direct memory', { skip }, async (t) => {
  const moving = await ProxiedGuest.boot(t)

  t.test('to where nobody listens', async (t) => {
    const there = { direct: `tcp:${moving.there.host.address}:4444` }
    const elsewhere = { direct: `tcp:${moving.there.host.address}:4445` }
    const move = await moving.begin(t, {}, there, elsewhere)
    t.match(await move.result, { code: 'MACHINE', owner: 'source', message: /refused/i })
    t.equal(await stateOf(moving.here.guest), 'running')
    t.ok(await moving.service.write(1))
  })

  t.test('to where nobody can listen', async (t) => {
    const move = await moving.begin(t, {}, { direct: 'tcp:10.99.0.1:4444' })
    t.match(await move.result, { code: 'MACHINE', owner: 'source', message: /destination/ })
    t.equal(await stateOf(moving.here.guest), 'running')
    t.ok(await moving.service.write(2))
  })

  t.test('there', async (t) => {
    const frames = new Set<string>()
    const move = await moving.begin(t, {}, { direct: `tcp:${moving.there.host.address}:4444` })
    move.proxy.onFrame(({ type }) => { frames.add(type) })
    t.equal((await moving.arrive(move)).equal, true)
    t.notOk(frames.has('machine'), "nothing of it went over the migration's port")
    t.equal(await stateOf(moving.here.guest), 'running')
    t.ok(await moving.service.write(3))
  })
})
