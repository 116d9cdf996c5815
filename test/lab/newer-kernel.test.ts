// The same on the newest kernel that Debian has for this release. Emulation is slow, so it is less.
import t from 'tap'

import { missingNeed } from '../../testbed/support/needs.js'
import { kNeedsBpf } from '../support/bpf.js'
import { passInLab } from './lab-programs.js'

const skip = kNeedsBpf || (await missingNeed() ?? false)
t.test('NBD client, bpf tap', { skip }, async (t) => {
  await passInLab(t, ['lab/programs/nbd-client', 'tap/bpf-marks.test'], 'bookworm-backports')
})
