// In the lab: writers that no cgroup can limit are slowed by dm-delay, and no longer than they have to be.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import t from 'tap'

import type { Tap } from '../../../lib/index.js'
import { leftoverTaps, migrate, openTap, probe, removeLeftoverTap } from '../../../lib/index.js'
import { contentOf, differing, mountedExt4, outrunner } from '../../support/bpf.js'
import { noWatchdog, start, worksSoon } from '../../support/dm-child.js'
import { destination } from '../../support/destination.js'
import { deviceOf, dmsetup, nameOf, traces, works } from '../../support/dm.js'
import { temporary } from '../../../testbed/support/images.js'

const kLimit = 2_000_000

/** What is written a second, over two of them. */
async function rateOf (tap: Tap): Promise<number> {
  const [at, before] = [performance.now(), tap.stats().writtenBytes]
  await sleep(2000)
  return (tap.stats().writtenBytes - before) * 1000 / (performance.now() - at)
}

async function untilRate (tap: Tap, isIt: (rate: number) => boolean): Promise<number> {
  for (;;) {
    const rate = await rateOf(tap)
    if (isIt(rate)) return rate
  }
}

/** Of a write, ms; null when the device has no such table. */
function delayOf (device: string): number | null {
  const words = dmsetup('table', nameOf(device)).split(' ')
  return words[2] === 'delay' ? Number(words.at(-1)) : null
}

t.test('a limit holds the writers, and lifting it lets them go', async (t) => {
  const device = deviceOf(t, 'linear')
  const before = traces(device)
  t.match(await probe(device), { throttle: { possible: true, reason: /dm-delay/ } })
  const tap = await openTap({ source: device, tap: 'dm' })
  t.equal(tap.throttleObstacle, null)
  t.equal(delayOf(device), 0, 'nothing is delayed at first')
  const { pause } = outrunner(t, device)
  const free = await untilRate(tap, (rate) => rate > 0)
  tap.throttle({ bytesPerSecond: kLimit })
  const held = await untilRate(tap, (rate) => rate < 1.2 * kLimit)
  t.ok(held > kLimit / 4, 'and not much more than it has to')
  t.ok(delayOf(device)! > 0)
  t.ok(tap.stats().delayUs > 0)
  tap.throttle({})
  const again = await untilRate(tap, (rate) => rate > 2 * kLimit)
  t.equal(delayOf(device), 0)
  t.comment(`free ${free}, limited ${held}, free again ${again} bytes/s`)
  await pause()
  await tap.close()
  t.equal(traces(device), before, 'nothing is left')
})

t.test('closed while its delay changes: the next tap finds the device free', async (t) => {
  const device = deviceOf(t, 'linear')
  const { pause } = outrunner(t, device)
  for (let turn = 0; turn < 10; turn++) {
    await using tap = await openTap({ source: device, tap: 'dm' })
    tap.throttle({ bytesPerSecond: kLimit })
    await sleep(200 + 30 * turn) // the first change comes within that
  }
  await pause()
  t.equal(delayOf(device), null)
})

t.test('writers are held without waiting for what is delayed', async (t) => {
  const device = deviceOf(t, 'linear')
  await using tap = await openTap({ source: device, tap: 'dm' })
  await tap.native.delayWrites(2000)
  const { pause } = outrunner(t, device)
  await sleep(500)
  await tap.quiesce()
  t.equal(delayOf(device), 0)
  await t.rejects(tap.native.delayWrites(2000), { code: 'CLOSED' }, 'that would let them go on')
  tap.release()
  await tap.native.delayWrites(2000)
  t.equal(delayOf(device), 2000)
  await pause()
})

t.test('writers of a file system that outrun the link are slowed until it fits', async (t) => {
  const device = deviceOf(t, 'linear')
  const point = mountedExt4(t, temporary(t), device)
  const file = join(point, 'file')
  execFileSync('truncate', ['-s', '16M', file])
  const { pause } = outrunner(t, file)
  const { target, address } = await destination(t)
  await sleep(2000)
  const migration = migrate({
    disks: [{ source: device, name: 'web', tap: 'dm' }],
    destination: address,
    budgets: { bandwidth: '3MB/s', downtime: '2s' },
    throttle: 'bucket'
  })
  let throttled = 0
  migration.on('throttle', ({ bytesPerSecond }) => { if (bytesPerSecond !== null) throttled++ })
  await migration
  t.ok(throttled > 0, 'they were slowed')
  t.same(differing(contentOf(`${device}-blockferry-moved`), readFileSync(target)), [], 'equal, block by block')
  await pause()
  t.equal(await removeLeftoverTap(device, { owned: true }), true)
})

t.test('killed: nothing is delayed any more', async (t) => {
  const device = deviceOf(t, 'linear')
  const before = traces(device)
  const child = start(t, device, ['checkpoint', 'delay', 'wait'])
  await child.said('delay')
  t.equal(delayOf(device), 300)
  child.signal('SIGKILL')
  await child.ended
  t.ok(await noWatchdog(), 'the watchdogs have ended')
  t.equal(delayOf(device), 0)
  t.ok(works(device))
  t.match(await leftoverTaps(), [{ device: nameOf(device), state: 'tapped', live: false }])
  t.equal(await removeLeftoverTap(device), true)
  t.equal(traces(device), before, 'nothing is left')
})

t.test('killed with the watchdogs: the next one takes it out', async (t) => {
  const device = deviceOf(t, 'linear')
  const before = traces(device)
  const child = start(t, device, ['delay', 'wait'])
  await child.said('delay')
  execFileSync('pkill', ['-KILL', 'blockferry-watc'])
  child.signal('SIGKILL')
  await child.ended
  t.equal(delayOf(device), 300)
  dmsetup('suspend', `${nameOf(device)}-blockferry-era`) // as in the midst of a checkpoint
  t.equal(await removeLeftoverTap(device), true)
  t.ok(await worksSoon(device))
  t.equal(traces(device), before, 'nothing is left')
})

t.test('fenced while writes are delayed', async (t) => {
  const device = deviceOf(t, 'linear')
  const before = traces(device)
  const child = start(t, device, ['delay', 'hold', 'may-lose', 'wait'])
  await child.said('may-lose')
  child.signal('SIGKILL')
  await child.ended
  t.ok(await noWatchdog(), 'the watchdogs have ended')
  t.notOk(works(device), 'writes fail')
  t.match(await leftoverTaps(), [{ device: nameOf(device), state: 'fenced' }])
  t.equal(await removeLeftoverTap(device, { owned: true }), true)
  t.ok(works(device))
  t.equal(traces(device), before, 'nothing is left')
})

t.test('no dm-delay where a cgroup is named', async (t) => {
  const device = deviceOf(t, 'linear')
  await using tap = await openTap({ source: device, tap: 'dm', cgroup: '/nowhere' })
  t.match(tap.throttleObstacle, /no cgroup/)
  t.equal(delayOf(device), null)
})
