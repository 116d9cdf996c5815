// The link or the destination goes while the machine stands still: it goes on at the source, or
// after the commit at the destination, and never at both.

import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { echoNumbers } from '../../testbed/clients/clients.js'
import { lostWrites } from '../../testbed/guests/log.js'
import { guestAddress } from '../../testbed/hosts/hosts.js'
import { missingNeed } from '../../testbed/support/needs.js'
import { message, type Frame } from '../support/frame-proxy.js'
import { ask, stateOf } from './observed.js'
import { ProxiedGuest, type ProxiedMove } from './proxied-guest.js'

const skip = (await missingNeed()) ?? false

/** From the fault on, at the source: noticing it, and letting the machine run. */
const resumedWithinMs = 20_000

const memory = ({ type, from }: Frame) => type === 'machine' && from === 'source'
const commit = message('commit')
const committed = message('committed')
const lastMark = ({ type }: Frame) => type === 'mark'

/** A move that has come to a frame of its blackout, which is held. */
async function moveUntil (
  t: Test, moving: ProxiedGuest, fits: (frame: Frame) => boolean
): Promise<ProxiedMove & { release: () => void }> {
  const move = await moving.begin(t)
  let isDue = false
  const { held, release } = move.proxy.hold((frame) => isDue && fits(frame))
  move.migration.on('switchover', () => { isDue = true })
  await Promise.race([held, move.result])
  return { ...move, release }
}

/** At the pause, so that no commit can be on its way yet: behind one the owner would be unknown, and
 * nobody can cancel. */
const faultsAtThePause: Array<[string, string, (move: ProxiedMove) => void]> = [
  ['cut', 'PEER_GONE', ({ proxy }) => proxy.cut()],
  ['cancelled', 'CANCELLED', ({ migration }) => migration.cancel()]
]

/** Everything is as before at the source, in time. */
async function checkGoesOn (t: Test, moving: ProxiedGuest, since: number): Promise<void> {
  while (await stateOf(moving.here.guest) !== 'running') {
    if (performance.now() - since > resumedWithinMs) break
    await sleep(20)
  }
  t.equal(await stateOf(moving.here.guest), 'running', 'it runs at the source')
  t.comment(`after ${Math.round(performance.now() - since)} ms`)
  t.not(await stateOf(moving.there.guest), 'running', 'not at the destination')
  t.equal(moving.here.tap.state, 'open')
  t.equal(moving.there.tap.state, 'refusing')
  t.ok(await moving.service.write(1), 'it answers and writes')
}

/** It moved, and runs only there. */
async function checkMoved (t: Test, moving: ProxiedGuest, move: ProxiedMove): Promise<void> {
  t.equal(await move.result, null, 'it moved')
  await moving.arrive(move)
  t.equal(await stateOf(moving.here.guest), 'running', 'it runs at the destination')
  t.equal(moving.here.tap.state, 'open')
  t.equal(moving.there.tap.state, 'refusing')
  t.ok(await moving.service.write(2), 'it answers and writes')
}

t.test('the blackout', { skip }, async (t) => {
  const moving = await ProxiedGuest.boot(t)
  await moving.service.startDirtying(32, 2000)
  const client = { namespace: moving.client, address: guestAddress }
  const echoes = echoNumbers(client)
  t.teardown(() => echoes.kill())

  t.test("the destination's QEMU is killed with memory on its way", async (t) => {
    const move = await moveUntil(t, moving, memory)
    const since = performance.now()
    await moving.there.guest!.kill()
    t.match(await move.result, { owner: 'source' })
    await checkGoesOn(t, moving, since)
    move.proxy.cut()
    await move.givenUp
  })

  for (const [name, code, fault] of faultsAtThePause) {
    t.test(`${name} at the pause, for good`, async (t) => {
      const move = await moving.begin(t)
      let since = 0
      move.migration.on('switchover', ({ step }) => {
        if (step !== 'pause') return
        since = performance.now()
        fault(move)
      })
      t.match(await move.result, { code, owner: 'source' })
      await checkGoesOn(t, moving, since)
      move.proxy.cut()
      await move.givenUp
    })
  }

  for (const [name, fits] of [['the last mark', lastMark], ['the commit', commit]] as const) {
    t.test(`cut at ${name}, and the link comes back`, async (t) => {
      const move = await moveUntil(t, moving, fits)
      const since = performance.now()
      move.proxy.cut()
      move.proxy.restore()
      t.match(await move.result, { code: 'PEER_GONE', owner: 'source' })
      await checkGoesOn(t, moving, since)
      await move.givenUp
    })
  }

  t.test("the destination's QEMU is killed at the commit", async (t) => {
    const move = await moveUntil(t, moving, commit)
    const since = performance.now()
    await moving.there.guest!.kill()
    // Whether all of the memory had arrived is open, so let the commit go: too late for both.
    t.match(await Promise.race([move.givenUp, move.result]), { code: /MACHINE|PEER_GONE/ })
    move.proxy.cut()
    move.proxy.restore()
    t.match(await move.result, { owner: 'source' })
    await checkGoesOn(t, moving, since)
  })

  t.test('cut at the commit, for good: it stands still at both ends, and says so', async (t) => {
    const move = await moveUntil(t, moving, commit)
    move.proxy.cut()
    t.match(await move.result, { code: 'OWNER_UNKNOWN', owner: 'unknown' })
    t.equal(await stateOf(moving.here.guest), 'postmigrate')
    t.not(await stateOf(moving.there.guest), 'running')
    t.equal(moving.here.tap.state, 'holding')
    t.equal(moving.there.tap.state, 'refusing')
    await move.givenUp
    // What an operator does who has asked the destination.
    moving.here.tap.release()
    await ask(moving.here.guest!, 'cont')
    await checkGoesOn(t, moving, performance.now())
  })

  t.test('cut at the word of the commit, and the link comes back', async (t) => {
    const move = await moveUntil(t, moving, committed)
    move.proxy.cut()
    move.proxy.restore()
    await checkMoved(t, moving, move)
  })

  t.test('cut at the word of the commit, for good: one end runs', async (t) => {
    const move = await moveUntil(t, moving, committed)
    move.proxy.cut()
    t.match(await move.result, { code: 'OWNER_UNKNOWN', owner: 'unknown' })
    await move.receiver.done
    t.equal(await stateOf(moving.here.guest), 'postmigrate', 'the source stands still')
    t.equal(await stateOf(moving.there.guest), 'running', 'the destination runs')
    t.equal(moving.here.tap.state, 'holding')
    t.equal(moving.there.tap.state, 'open')
    t.ok(await moving.service.write(3), 'it answers and writes')
    t.match(await echoes.stop(), { wrong: 0, broken: 0, failed: 0 }, 'no connection ever broke')
  })
})

t.test("the destination's QEMU is killed right after the commit", { skip }, async (t) => {
  const moving = await ProxiedGuest.boot(t)
  const record = await moving.service.write(1)
  const move = await moveUntil(t, moving, committed)
  const { here, there } = moving
  await there.guest!.kill()
  move.release()
  t.equal(await move.result, null, 'it moved')
  await move.receiver.done.catch(() => {})
  t.equal(await stateOf(here.guest), 'postmigrate', 'the source stands still')
  t.equal(here.tap.state, 'refusing', 'and can not write')
  t.equal(there.tap.state, 'open', 'the disk waits for its machine to be started again')
  await here.guest!.kill()
  t.same(await lostWrites(there.image, [record]), [], 'with every acknowledged write')
})
