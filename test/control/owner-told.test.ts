// When the owner of a migration's disks is unknown to who follows its events.
import t from 'tap'

import { BlockferryError } from '../../lib/index.js'
import type { HostEvent } from '../../lib/control/job.js'
import { ownerUnknownAfter } from '../../lib/control/owner-unknown.js'

const error = (owner: 'source' | 'unknown') => new BlockferryError('PEER_GONE', 'made up', { owner })
const kAfter: Array<[string, HostEvent, boolean]> = [
  ['the destination is told to decide', { event: 'switchover', step: 'commit' }, true],
  ['the rest is sent once more', { event: 'switchover', step: 'residual' }, false],
  ['taken back', { event: 'resumed', reason: 'made up' }, false],
  ['lost, and not committed', { event: 'reconnecting', error: error('source'), waitMs: 250 }, false],
  ['over, and nobody answers', { event: 'failed', error: error('unknown') }, true],
  ['over, the source owns it', { event: 'failed', error: error('source') }, false]
]

for (const [what, event, expected] of kAfter) {
  t.test(`${what}: the owner is ${expected ? 'unknown' : 'known'}`, async (t) => {
    t.equal(ownerUnknownAfter(event, true), expected)
  })
}

t.test('what tells nothing changes nothing', async (t) => {
  const event: HostEvent = { event: 'throttle', bytesPerSecond: null }
  t.equal(ownerUnknownAfter(event, true), true)
  t.equal(ownerUnknownAfter(event, false), false)
})
