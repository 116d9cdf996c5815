import t from 'tap'
import {
  deferTime, kUnknownInFlight, largestExtent, mostInFlight
} from '../../lib/policy/pacing.js'

const kMiB = 2 ** 20
const kGiB = 2 ** 30
const link = { pessimistic: 5e6, mean: 6e6, peak: 8e6, settled: true }

t.test('blocks left for later: a quarter of what is unsent, or of what is allowed', (t) => {
  t.equal(deferTime(40 * kMiB, kMiB, kMiB, kGiB, false), 10_000)
  t.equal(deferTime(0, 4 * kMiB, 10 * kMiB, kGiB, false), 100)
  t.equal(deferTime(0, 4096, 10 * kMiB, kGiB, false), 0, 'no room')
  t.equal(deferTime(kGiB, kMiB, 0, kGiB, false), 600_000, 'nobody writes')
  t.equal(deferTime(0, 4 * kMiB, 10 * kMiB, 2 ** 40, false), 0, 'too often for so large a map')
  t.equal(deferTime(0, 4 * kMiB, kMiB, 2 ** 40, false), 1000)
  t.equal(deferTime(40 * kMiB, kMiB, kMiB, kGiB, true), 500, 'the writers are throttled')
  t.equal(deferTime(0, 4 * kMiB, 10 * kMiB, kGiB, true), 100)
  t.equal(deferTime(0, 4 * kMiB, kMiB, 2 ** 40, true), 500, 'and the map is large')
  t.end()
})

t.test('extents take about 20 ms', (t) => {
  t.equal(largestExtent(0), 65_536)
  t.equal(largestExtent(625_000), 65_536)
  t.equal(largestExtent(12_500_000), 3 * 65_536)
  t.equal(largestExtent(1.25e9), kMiB)
  t.end()
})

t.test('what may be in flight', (t) => {
  t.equal(mostInFlight(0, 1e6, link, 100), 6e5 * 1.25 + 250_000, 'near the end')
  t.equal(mostInFlight(0, 0, link, 100), 6e5 * 1.25 + 65_536)
  t.equal(mostInFlight(1e9, 1e6, link, 100), 8e6 * 0.7, 'far from it')
  t.equal(mostInFlight(1e9, 1e6, { ...link, peak: 1000 }, 1), kUnknownInFlight)
  t.end()
})
