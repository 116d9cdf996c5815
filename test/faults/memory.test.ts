// Migrations whose processes have little memory, or run out of it at a moment that a seed draws;
// see link.test.ts for how to run more, or one of them again.
import t from 'tap'

import { kNeedsMemoryGroups } from '../support/memory-group.js'
import { memoryFaults } from './memory-faults.js'
import { runProcessTrial } from './process-trial.js'
import { runTrials } from './trials.js'

t.test('whatever memory there is', { skip: kNeedsMemoryGroups }, async (t) => {
  await runTrials(t, (seed) => runProcessTrial(seed, memoryFaults), { runs: 10, atOnce: 2 })
})
