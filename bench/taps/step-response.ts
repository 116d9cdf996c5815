// How soon, and how well, a limit on the writers holds, and how soon they are free again.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Figures } from '../support/figures.js'
import { limitedHere } from './cgroup.js'
import type { TapContender } from './contender.js'
import { startFio } from './writers.js'
import { firstWindow, rate, watch } from './written.js'

const startMs = 1500
const freeMs = 1000
const heldMs = { cgroup: 3000, delay: 10_000 }
const liftedMs = 2000
/** A limit of so much of what they write without one. */
const share = 0.1

/** `by`: the kernel's cgroups; or dm-delay, which a dm tap takes where it finds no cgroup. */
export async function measureStep (
  tapKind: TapContender, device: string, by: keyof typeof heldMs
): Promise<Figures> {
  await using tap = await tapKind.attach(device, by === 'cgroup' ? limitedHere() : {})
  const seconds = Math.ceil((startMs + freeMs + heldMs[by] + liftedMs) / 1000) + 1
  const writing = startFio(device, [
    '--rw=randwrite', '--bs=64k', '--iodepth=4', '--time_based=1', `--runtime=${seconds}`
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
    throttleOnMs: firstWindow(held, (now) => now <= 1.2 * limit),
    throttleHeld: rate(held.slice(Math.floor(held.length / 3))) / limit,
    throttleOffMs: firstWindow(lifted, (now) => now >= 0.5 * free)
  }
}
