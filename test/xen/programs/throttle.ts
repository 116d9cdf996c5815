// throttle KIND DEVICE: in dom0, the thread of the guest's backend is in a cgroup, whose limit slows
// the guest's writers; before, in none, a dm tap slows them itself.

import { strict as assert } from 'node:assert'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Tap } from '../../../lib/index.js'
import { openTap } from '../../../lib/index.js'
import { kCgroup, moveThread, moveThreadBack } from '../../../testbed/xen/programs/backend-thread.js'
import { Backend } from '../../../testbed/xen/programs/backend.js'
import { theArguments, writersDid } from '../../../testbed/xen/programs/guest-disk.js'

const kWrites = 80
/** One write in eight seconds. */
const kBytesPerSecond = 512

const { kind, devices: [device] } = theArguments()
const backend = Backend.of(device!)
await checkInRoot()
moveThread()
for (const options of [{ cgroup: kCgroup }, {}]) {
  await using tap = await openTap({ source: device!, tap: kind, ...options })
  assert.equal(tap.throttleObstacle, null)
  await checkLimit(tap)
}
moveThreadBack()

/** In the root there is no limit to be had, and a bpf tap says what to do; a dm tap delays writes itself. */
async function checkInRoot (): Promise<void> {
  await using tap = await openTap({ source: device!, tap: kind })
  console.log(tap.throttleObstacle)
  if (kind === 'bpf') return assert.match(tap.throttleObstacle ?? '', /\d+\.xvda-0/)
  assert.equal(tap.throttleObstacle, null)
  tap.throttle({ bytesPerSecond: kBytesPerSecond })
  while (tap.stats().delayUs === 0) await writersDid(backend, { writes: 1 })
}

/** In the time that free writers take for many writes, those that are held come to a few. */
async function checkLimit (tap: Tap): Promise<void> {
  const [began, first] = [performance.now(), tap.stats().writtenBytes]
  await writersDid(backend, { writes: kWrites })
  const [windowMs, second] = [performance.now() - began, tap.stats().writtenBytes]
  tap.throttle({ bytesPerSecond: kBytesPerSecond })
  const third = tap.stats().writtenBytes // one that had begun may have come through
  await sleep(windowMs)
  const [free, held] = [second - first, tap.stats().writtenBytes - third]
  console.log(`in ${Math.round(windowMs)} ms: free ${free} bytes, held ${held}`)
  assert(free > 0)
  assert(held < free / 4, 'they are held')
  tap.throttle({})
  await writersDid(backend, { writes: kWrites })
}
