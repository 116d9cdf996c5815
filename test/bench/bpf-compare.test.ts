// Hundreds of thousands of random writes under a bpf tap, while a second copy is kept by what it
// marks: compared block by block. The benchmark does the same with millions.
import t from 'tap'

import { compareReported, compareWrites } from '../../bench/taps/compare.js'
import { bpf } from '../../bench/taps/contender.js'
import { emptyDevice, kNeedsBpf } from '../support/bpf.js'
import { temporary } from '../../testbed/support/images.js'

const kMiB = 64
const kWrites = 300_000

t.test('no block is missed', { skip: kNeedsBpf }, async (t) => {
  const dir = temporary(t)
  const figures = await compareWrites(bpf, emptyDevice(t, dir, kMiB), dir, kWrites)
  t.comment(JSON.stringify(figures))
  t.equal(figures.missed, 0)
  t.ok(Number(figures.comparedWrites) >= kWrites)
})

t.test('no block is reported that has not changed', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), kMiB)
  t.match(await compareReported(bpf, device, kMiB * 2 ** 20), { unreported: 0, reportedOverChanged: 1 })
})
