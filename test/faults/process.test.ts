// Migrations of which either process, or both, is killed or stopped for a while, at moments that a
// seed draws; see link.test.ts for how to run more, or one of them again.
import t from 'tap'

import { processFaults } from './process-faults.js'
import { runProcessTrial } from './process-trial.js'
import { runTrials } from './trials.js'

t.test('whatever happens to the processes', async (t) => {
  await runTrials(t, (seed) => runProcessTrial(seed, processFaults), { runs: 20, atOnce: 4 })
})
