// Migrations in a process that runs out of descriptors, both sides at once, at moments that a seed
// draws; see link.test.ts for how to run more, or one of them again.
import t from 'tap'

import { DescriptorLimit } from './descriptors.js'
import type { Faults } from '../../testbed/faults/trial.js'
import { runTrial } from '../../testbed/faults/trial.js'
import { runTrials } from './trials.js'

t.test('whatever there is no descriptor for', async (t) => {
  await using limit = await DescriptorLimit.open()
  const faults: Faults = {
    'no descriptors': () => ({
      strike: (_link, random) => {
        limit.leave(random.below(8))
        return random.scaleBetween(5, 2500)
      },
      heal: () => limit.restore(),
      budgets: { deadline: '20s' }
    })
  }
  await runTrials(t, (seed) => runTrial(seed, faults), { runs: 30, atOnce: 1 })
})
