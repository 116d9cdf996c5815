// Migrations between disks that fail, are full, slow, or lie, at moments that a seed draws; see
// link.test.ts for how to run more, or one of them again.
import t from 'tap'

import { kNeedsFuse } from '../support/faulty-file.js'
import { diskFaults } from './disk-faults.js'
import { runTrial } from '../../testbed/faults/trial.js'
import { runTrials } from './trials.js'

t.test('whatever happens to the disks', { skip: kNeedsFuse }, async (t) => {
  await runTrials(t, (seed) => runTrial(seed, diskFaults), { runs: 42, atOnce: 3 })
})
