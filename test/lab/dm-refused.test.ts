import t from 'tap'

import { missingNeed } from '../../testbed/support/needs.js'
import { kNeedsDm } from '../support/dm.js'
import { passInLab } from './lab-programs.js'

t.test('the dm tap: refused', { skip: kNeedsDm || (await missingNeed() ?? false) }, async (t) => {
  await passInLab(t, ['lab/programs/dm-refused'])
})
