// What a sealed destination decides.
import t from 'tap'

import type { Received } from '../../lib/destination/decision.js'
import { decide } from '../../lib/destination/decision.js'
import { DestinationPhase } from '../../lib/destination/phase.js'

const commit = { mark: 7, digests: ['aa', 'bb'], run: true }
const all: Received = { digests: ['aa', 'bb'], missing: [0, 0], isRight: true, changed: [] }

const kCases: Array<[string, Partial<Received>, boolean, string]> = [
  ['all is here and equal', {}, true, 'commit'],
  ['a digest differs', { digests: ['aa', 'cc'] }, true, 'notEqual'],
  ['a digest differs, and nobody asked for equality', { digests: ['aa', 'cc'] }, false, 'commit'],
  ['a block of the second disk is missing', { missing: [0, 1] }, true, 'notEqual'],
  ['a block is missing, and nobody asked for equality', { missing: [1, 0] }, false, 'notEqual'],
  ['a block is wrong', { isRight: false }, true, 'notEqual'],
  ['a block is wrong, and nobody asked for equality', { isRight: false }, false, 'notEqual'],
  ['the source speaks of more disks', { digests: ['aa'], missing: [0] }, true, 'notEqual'],
  ['the source speaks of more disks, and nobody asked for equality', { digests: ['aa'], missing: [0] }, false, 'notEqual'],
  ['somebody else has written a disk', { changed: [1] }, true, 'written'],
  ['somebody else has written a disk, and nobody asked for equality', { changed: [0] }, false, 'written'],
  ['somebody else has written a disk, and it differs', { changed: [0], digests: ['x', 'y'] }, true, 'written']
]

for (const [what, received, equality, expected] of kCases) {
  t.test(`${what}: ${expected}`, async (t) => {
    t.equal(decide({ ...all, ...received }, commit, equality), expected)
  })
}

t.test('what has committed stays so', async (t) => {
  const phase = new DestinationPhase()
  for (const next of ['preparing', 'receiving', 'switching', 'sealed', 'deciding', 'decidingAlone', 'committed'] as const) {
    t.notOk(phase.isCommitted)
    phase.to(next)
  }
  t.ok(phase.isCommitted)
  for (const next of ['refused', 'lost', 'unknown', 'receiving'] as const) {
    t.throws(() => phase.to(next), { code: 'INTERNAL' })
  }
  phase.to('heard')
  t.ok(phase.isCommitted)
})
