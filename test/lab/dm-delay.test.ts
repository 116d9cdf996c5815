// Taps by dm-era with dm-delay in front, which slows the writers where no cgroup can.
import t from 'tap'

import { missingNeed } from '../../testbed/support/needs.js'
import { kNeedsDm } from '../support/dm.js'
import { passInLab } from './lab-programs.js'

const skip = kNeedsDm || (await missingNeed() ?? false)
t.test('writers that are delayed', { skip }, async (t) => {
  await passInLab(t, ['lab/programs/dm-delay'])
})
