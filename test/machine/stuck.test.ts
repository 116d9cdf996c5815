// The link is cut in the blackout with much memory still to be sent: QEMU hangs in the middle of it
// and answers nobody. The machine goes on at the source all the same, long before the link counts
// as dead.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { missingNeed } from '../../testbed/support/needs.js'
import { failureOf, Observed, stateOf } from './observed.js'

const skip = (await missingNeed()) ?? false

t.test('stuck in the blackout', { skip }, async (t) => {
  const link = { rateBitsPerSecond: 100e6, delayMs: 5 }
  const observed = await Observed.boot(t, { hosts: { link }, linkTimeout: '60s' })
  const { here } = observed.moving
  await observed.service.startDirtying(32, 2500)
  const move = await observed.begin('--downtime', '3s', '--compression', 'off')
  await move.send.event('switchover')
  await observed.hosts.link.cut()
  // Twice the downtime that was allowed and a second; the rest is generosity.
  for (let tries = 0; tries < 30 && await stateOf(here.guest) !== 'running'; tries++) {
    await sleep(1000)
  }
  t.equal(await stateOf(here.guest), 'running', 'it goes on while the link is still down')
  await observed.hosts.link.restore()
  t.match(await failureOf(move), { code: 'TIMEOUT', owner: 'source' })
  await observed.checkRunsHere(t)
  await observed.service.stopDirtying()
  await observed.checkMoves(t)
  await observed.checkClients(t)
})
