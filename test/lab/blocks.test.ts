// What this host's kernel may lack, on a stock Debian one: the kernel's NBD client on a tap, cgroup
// version 2, an older block layer under the bpf tap.
import t from 'tap'

import { missingNeed } from '../../testbed/support/needs.js'
import { kNeedsBpf } from '../support/bpf.js'
import { passInLab } from './lab-programs.js'

const skip = kNeedsBpf || (await missingNeed() ?? false)
t.test('NBD client, limits, bpf tap', { skip }, async (t) => {
  await passInLab(t, ['lab/programs/nbd-client', 'tap/limit.test', 'tap/bpf-marks.test'])
})
