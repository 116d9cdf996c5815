// How soon, and how well, a limit on the writers holds, and how soon they are free again.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Tap } from '../../lib/index.js'
import type { Figures } from '../support/figures.js'
import { limitedHere } from './cgroup.js'
import type { TapContender } from './contender.js'
import { startFio } from './writers.js'

const startMs = 1500
const freeMs = 1000
const heldMs = { cgroup: 3000, delay: 10_000 }
const liftedMs = 2000
/** The kernel's limits act in slices of about 100 ms. */
const windowMs = 250
/** A limit of so much of what they write without one. */
const share = 0.1

interface Point {
  readonly at: number
  readonly bytes: number
}

/** What was written, every 10 ms. */
async function watch(tap: Tap, ms: number): Promise<Point[]> {
  const points: Point[] = []
  const end = performance.now() + ms
  for (let at = performance.now(); at < end; at = performance.now()) {
    points.push({ at, bytes: tap.stats().writtenBytes })
    await sleep(10)
  }
  return points
}

function rate(points: readonly Point[]): number {
  const [first, last] = [points[0]!, points.at(-1)!]
  return ((last.bytes - first.bytes) * 1000) / (last.at - first.at)
}

/** The first moment from which on a window fits, ms after the first point; null when none does. */
function settled(points: readonly Point[], fits: (rate: number) => boolean): number | null {
  for (const [index, { at }] of points.entries()) {
    const window = points.slice(index).filter((point) => point.at <= at + windowMs)
    if (points.at(-1)!.at < at + windowMs) return null
    if (window.length > 1 && fits(rate(window))) return at - points[0]!.at
  }
  return null
}

/** `by`: the kernel's cgroups; or dm-delay, which a dm tap takes where it finds no cgroup. */
export async function measureStep(
  tapKind: TapContender, device: string, by: keyof typeof heldMs
): Promise<Figures> {
  await using tap = await tapKind.attach(device, by === 'cgroup' ? limitedHere() : {})
  const seconds = Math.ceil((startMs + freeMs + heldMs[by] + liftedMs) / 1000) + 1
  const writing = startFio(device, [
    '--rw=randwrite', '--bs=64k', '--iodepth=4', '--time_based=1', `--runtime=${seconds}`,
  ])
  await sleep(startMs)
  const free = rate(await watch(tap, freeMs))
  if (free === 0) throw new Error('nothing was written that could be slowed')
  const limit = share * free
  tap.throttle({ bytesPerSecond: limit })
  const held = await watch(tap, heldMs[by])
  tap.throttle({})
  const lifted = await watch(tap, liftedMs)
  await writing
  return {
    freeBytesPerSecond: free,
    throttleOnMs: settled(held, (now) => now <= 1.2 * limit),
    throttleHeld: rate(held.slice(Math.floor(held.length / 3))) / limit,
    throttleOffMs: settled(lifted, (now) => now >= 0.5 * free),
  }
}
