import t from 'tap'
import {
  allowedResidual, checkpointCost, leastDowntime, observeCheckpoint, pauseCost, predictDowntime,
  residualWire, usualCheckpoint
} from '../../lib/policy/downtime.js'
import { zero } from './samples.js'

const link = { pessimistic: 6.25e6, mean: 6.5e6, peak: 7e6, settled: true }
const ratio = { pessimistic: 0.5, mean: 0.4 }
const sample = { ...zero, roundTripMs: 100, pauseMs: 5 }

t.test('what a pause costs', (t) => {
  t.equal(pauseCost(sample, 20), 5 + 150 + 20)
  t.equal(pauseCost({ ...sample, machineMs: 40 }, 20), 215)
  t.equal(pauseCost(sample, null), 5 + 150 + 20, 'without any checkpoint yet')
  const { pauseMs, ...unmeasured } = sample
  t.equal(pauseMs, 5)
  t.equal(pauseCost(unmeasured, 20), 180)
  t.end()
})

t.test('what a checkpoint costs', (t) => {
  t.equal(checkpointCost([10, 10, 10, 10, 30]), 30, 'the last one, when it is worse')
  t.equal(checkpointCost([30, 30, 30, 10, 10]), 30, 'a high quantile, when it is')
  t.equal(checkpointCost([]), null)
  t.equal(usualCheckpoint([10, 10, 12, 10, 30]), 10)
  t.equal(usualCheckpoint([]), null)
  t.end()
})

t.test('checkpoints are remembered once each, the last eight', (t) => {
  t.same(observeCheckpoint([], sample), [])
  t.same(observeCheckpoint([7], { ...sample, checkpointMs: 7 }), [7])
  t.same(observeCheckpoint([7], { ...sample, checkpointMs: 9 }), [7, 9])
  t.same(observeCheckpoint([1, 2, 3, 4, 5, 6, 7, 8], { ...sample, checkpointMs: 9 }),
    [2, 3, 4, 5, 6, 7, 8, 9])
  t.end()
})

t.test('the residual allowed: 90 % of 125 ms at 6.25 MB/s, two content bytes to a wire byte', (t) => {
  t.equal(allowedResidual(300, 175, link, { pessimistic: 1, mean: 1 }), 703_125)
  t.equal(allowedResidual(300, 175, link, ratio), 1_406_250)
  t.equal(allowedResidual(100, 175, link, ratio), 0)
  t.end()
})

t.test('what the pause would have to send', (t) => {
  const busy = { ...sample, unsent: 1_000_000, inFlight: 1_000_000 }
  t.equal(residualWire(busy, 6.25e6, link, ratio), 500_000 + 375_000, 'less what is on the cable')
  t.equal(residualWire(busy, 0, link, ratio), 1_500_000, 'nothing was on the cable')
  t.equal(residualWire(busy, 1e9, link, ratio), 875_000, 'no more than the link holds')
  t.equal(residualWire({ ...busy, inFlight: 10 }, 6.25e6, link, ratio), 500_000)
  t.end()
})

t.test('the downtime of a residual, and the other way round', (t) => {
  t.equal(predictDowntime(703_125, 175, link), 300)
  t.equal(predictDowntime(0, 175, link), 175)
  t.equal(predictDowntime(1, 175, { ...link, pessimistic: 0 }), Infinity)
  t.equal(predictDowntime(0, 175, { ...link, pessimistic: 0 }), 175)
  t.end()
})

t.test('the least downtime leaves room for 32 KiB', (t) => {
  const wire = 32_768 * 0.5
  t.equal(leastDowntime(175, link, ratio), 175 + wire * 1000 / 6.25e6 / 0.9)
  t.end()
})
