// The link between the hosts is cut while a machine moves over it: it goes on at the source. In
// the blackout, too, or at the destination if that had been told to decide.

import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { missingNeed } from '../../testbed/support/needs.js'
import type { Move } from '../../testbed/guests/moving-guest.js'
import { failureOf, Observed, phases, slowly, type Failure } from './observed.js'

const skip = (await missingNeed()) ?? false

/** 'moved', or 'failed' and the source owns the disk: nothing else, once the link is back. */
async function outcomeOf (t: Test, { send, receive }: Move): Promise<string> {
  await send.ended
  await receive.ended
  const last = send.events.at(-1) as { event: string, error?: Failure }
  if (last.event === 'done') return 'moved'
  t.match(last, { event: 'failed', error: { owner: 'source' } })
  return `${last.event} ${last.error?.code} ${last.error?.message}`
}

t.test('cut', { skip }, async (t) => {
  const link = { rateBitsPerSecond: 100e6, delayMs: 5 }
  const observed = await Observed.boot(t, { hosts: { link } })
  const { hosts } = observed

  for (const [phase, reached] of Object.entries(phases)) {
    t.test(`in ${phase}`, async (t) => {
      const move = await observed.begin(...slowly)
      await reached(move)
      await hosts.link.cut()
      t.match(await failureOf(move), { code: 'TIMEOUT', owner: 'source' })
      await observed.checkRunsHere(t)
      await hosts.link.restore()
    })
  }

  for (const step of ['pause', 'residual', 'commit']) {
    t.test(`in the blackout, at ${step}, for a while`, async (t) => {
      await observed.service.startDirtying(32, 1500)
      const move = await observed.begin('--downtime', '2s')
      await move.send.event('switchover', (event) => event.step === step)
      await hosts.link.cut()
      await sleep(3000)
      await hosts.link.restore()
      const outcome = await outcomeOf(t, move)
      if (outcome === 'moved') await move.done()
      t.comment(outcome)
      await observed.checkRunsHere(t)
      await observed.service.stopDirtying()
    })
  }

  t.test('after all of it', async (t) => {
    await observed.checkMoves(t)
    await observed.checkClients(t)
  })
})
