// A guest that dirties its memory faster than the link carries it: it is slowed down, which is
// enough or ends with the deadline; then it runs on at the source, as fast as before.

import t from 'tap'
import { missingNeed } from '../../testbed/support/needs.js'
import { Command } from '../../testbed/guests/moving-guest.js'
import { failureOf, Observed } from './observed.js'

const skip = (await missingNeed()) ?? false

const isSlowed = ({ throttle }: { throttle: number }) => throttle > 0
const isTooFast = ({ dirtyRate }: { dirtyRate: number | null }) => (dirtyRate ?? 0) > 12.5e6
/** In words: on a busy machine the guest may not come to write so fast, or not for long. */
const tooFast = (asked: any[]) => (
  `${asked.filter(isTooFast).length} of ${asked.length} times too fast, ${asked.filter(isSlowed).length} slowed`)

t.test('memory that does not converge', { skip }, async (t) => {
  const link = { rateBitsPerSecond: 100e6 }
  // The link is full, and perhaps the machine busy: that is no loss of the link.
  const observed = await Observed.boot(t, { hosts: { link }, memoryMiB: 128, linkTimeout: '10s' })

  // The first, since QEMU may never slow a guest again once a migration that slowed it was cancelled,
  // whatever it says: where a processor was about to begin its sleep, none is ever begun anew.
  t.test('moves once it is slowed down', async (t) => {
    await observed.service.startDirtying(48, 4000)
    const move = await observed.begin('--downtime', '1s')
    t.equal((await move.done()).equal, true, 'it moves')
    const asked = move.send.events.filter(({ event }) => event === 'memory') as any[]
    t.comment(tooFast(asked))
    await observed.checkRunsHere(t)
    await observed.service.stopDirtying()
  })

  t.test('ends with the deadline', async (t) => {
    await observed.service.startDirtying(48)
    const move = await observed.begin('--downtime', '200ms', '--deadline', '40s')
    const failure = await failureOf(move)
    t.match(failure, { code: 'DEADLINE', owner: 'source' }, failure.message)
    const asked = move.send.events.filter(({ event }) => event === 'memory') as any[]
    t.ok(asked.some(isSlowed), 'it was slowed down')
    t.comment(tooFast(asked))
    await observed.checkRunsHere(t)
  })

  // Whether the budget is met is asked at the end of each pass, and all that it dirtied is left then.
  t.test('does not pause while the disks do not fit', async (t) => {
    await observed.service.startDirtying(48)
    const move = await observed.begin('--downtime', '200ms', '--deadline', '30s')
    await move.send.event('memory', ({ passes }) => passes > 0)
    const { host, control } = observed.moving.here
    const set = new Command(host.namespace, ['set', '--control', control, '--downtime', '1ms'])
    t.equal(await set.ended, 0)
    const failure = await failureOf(move)
    t.match(failure, { code: 'DEADLINE', owner: 'source' }, failure.message)
    const last = move.send.events.findLast(({ event }) => event === 'memory') as any
    t.ok(last.passes > 1, `${last.passes} passes have ended`)
    t.notOk(move.send.events.some(({ event }) => event === 'switchover'), 'it did not pause')
    await observed.checkRunsHere(t)
  })

  t.test('after all of it', (t) => observed.checkClients(t))
})
