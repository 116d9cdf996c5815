// throttle-steps KIND DEVICE: in dom0, sets limits for the writers of a guest's disk one after another,
// and says how soon each holds them, as JSON.
//
// A limit holds from when on they write, over a quarter of a second, within a fifth of it; one that was lifted is gone
// when they write nearly as fast as before.

import { setTimeout as sleep } from 'node:timers/promises'

import { openTap } from '../../lib/index.js'
import { kCgroup, moveThread } from '../../testbed/xen/programs/backend-thread.js'
import { theArguments } from '../../testbed/xen/programs/guest-disk.js'
import { firstWindow, rate, watch } from '../taps/written.js'

const kFreeMs = 5000
const kStepMs = 6000
const kNear = 0.2

const { kind, devices: [device] } = theArguments()
moveThread()
await using tap = await openTap({ source: device!, tap: kind, cgroup: kCgroup })
await sleep(1000)
const free = rate(await watch(tap, kFreeMs))
const figures: Record<string, number | null> = { freeBytesPerSecond: Math.round(free) }
const steps = { downToHalfMs: 0.5, downToEighthMs: 0.125, upToHalfMs: 0.5 }
for (const [name, share] of Object.entries(steps)) {
  tap.throttle({ bytesPerSecond: Math.round(free * share) })
  const isNear = (now: number) => Math.abs(now / (free * share) - 1) <= kNear
  figures[name] = firstWindow(await watch(tap, kStepMs), isNear)
}
tap.throttle({})
figures['liftedMs'] = firstWindow(await watch(tap, kStepMs), (now) => now >= (1 - kNear) * free)
console.log(JSON.stringify(figures))
