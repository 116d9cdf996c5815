// drain KIND DEVICE SLOW: in dom0, the guest is paused while requests of its backend are in flight,
// for the device below the disk takes its time. When the tap has come to rest they have ended and are
// marked, and nothing happens until the guest runs again.

import { strict as assert } from 'node:assert'

import { openTap } from '../../../lib/index.js'
import { Backend } from '../../../testbed/xen/programs/backend.js'
import { contentOf, differing, guest, marked, theArguments, writersDid } from '../../../testbed/xen/programs/guest-disk.js'
import { setDelay } from './slow-disk.js'

const kDelayMs = 1000

const { kind, devices: [device, slow] } = theArguments()
const backend = Backend.of(device!)
await using tap = await openTap({ source: device!, tap: kind })
guest.pause()
await tap.quiesce()
const before = contentOf(tap.readPath)
tap.track()
tap.release()
setDelay(slow!, kDelayMs)
const inFlight = await pausedInFlight()
await tap.quiesce()
assert.equal(backend.inFlight, 0)
const requests = backend.requests
setDelay(slow!, 0)
const [first, blocks, second] = [contentOf(tap.readPath), marked(tap), contentOf(tap.readPath)]
assert.equal(backend.inFlight, 0)
assert.deepEqual(backend.requests, requests, 'the backend rests')
assert.deepEqual(differing(first, second), [], 'and so does the disk')
const changed = differing(before, first)
assert(changed.length > 0)
assert.deepEqual(changed.filter((block) => !blocks.has(block)), [], 'every changed block is marked')
console.log(`${inFlight} requests were in flight, ${changed.length} blocks changed`)
tap.release()
guest.resume()
await writersDid(backend, { writes: 1 })

/** Pauses the guest at a moment when there are requests in flight. Answers how many. */
async function pausedInFlight (): Promise<number> {
  for (;;) {
    guest.resume()
    const { writes } = backend.requests
    while (backend.requests.writes === writes) await new Promise(setImmediate)
    guest.pause()
    const count = backend.inFlight
    if (count > 0) return count
  }
}
