// marks KIND DEVICE: in dom0, a tap comes to a disk in use by the guest, reports what its writers
// change and discard, and goes again without a trace.

import { strict as assert } from 'node:assert'

import { openTap } from '../../../lib/index.js'
import { Backend } from '../../../testbed/xen/programs/backend.js'
import { contentOf, differing, dmsetup, guest, kBlock, marked, theArguments, writersDid } from '../../../testbed/xen/programs/guest-disk.js'

const { kind, devices: [device] } = theArguments()
const backend = Backend.of(device!)
const tables = dmsetup('table')

guest.pause()
const tap = await openTap({ source: device!, tap: kind })
if (kind === 'dm') assert.notEqual(dmsetup('table'), tables)
await tap.quiesce()
const before = contentOf(tap.readPath)
tap.track()
tap.release()
guest.resume()
await writersDid(backend, { writes: 60, discards: 2 })
guest.pause()
await tap.quiesce()
const after = contentOf(tap.readPath)
const blocks = marked(tap)
tap.release()
guest.resume()

const changed = differing(before, after)
const discarded = changed.filter((block) => isZero(after.subarray(block * kBlock, (block + 1) * kBlock)))
console.log(`${changed.length} blocks changed, ${discarded.length} of them discarded, ${blocks.size} marked`)
assert.deepEqual(changed.filter((block) => !blocks.has(block)), [], 'every changed block is marked')
assert(changed.length > 0)
assert(discarded.length > 0, 'a discard changes what was written before')

await tap.close()
assert.equal(dmsetup('table'), tables)
await writersDid(backend, { writes: 1 })

function isZero (bytes: Buffer): boolean {
  return bytes.equals(Buffer.alloc(bytes.length))
}
