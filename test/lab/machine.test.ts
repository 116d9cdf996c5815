// A machine that was started on a plain device moves with its memory, by each tap in the kernel.
import t from 'tap'

import { missingNeed } from '../../testbed/support/needs.js'
import { kNeedsBpf } from '../support/bpf.js'
import { kNeedsDm } from '../support/dm.js'
import { passInLab } from './lab-programs.js'

const skip = kNeedsBpf || kNeedsDm || (await missingNeed() ?? false)
t.test('bpf and dm', { skip }, async (t) => {
  await passInLab(t, ['lab/programs/machine'])
})
