import t from 'tap'
import type { Writer } from '../../lib/policy/estimate.js'
import type { Drain } from '../../lib/policy/drain-time.js'
import type { Pressure } from '../../lib/policy/throttle.js'
import {
  allowedDirtyRate, burstSize, latencyFloor, throttleNeeded, throttleSpare, uniqueRatio
} from '../../lib/policy/throttle.js'

const drain: Drain = { dirty: 500, target: 100, capacity: 100, demand: 150, dirtied: 90 }
const free: Pressure = { drain, deadlineMs: Infinity, patienceMs: 40_000 }
const writer: Writer = { dirtied: 90, written: 150, delayShare: 0, writeSize: 4096 }

t.test('who is throttled', (t) => {
  t.equal(throttleNeeded(free), true, 'outruns the link, and fills nine tenths of it')
  t.equal(throttleNeeded({ ...free, drain: { ...drain, dirtied: 70 } }), false,
    'outruns it on few blocks: drains at 30 a second')
  const slow = { ...drain, demand: 60, dirtied: 60 }
  t.equal(throttleNeeded({ ...free, drain: slow }), false, 'slower than the link')
  t.equal(throttleNeeded({ ...free, drain: slow, patienceMs: 0 }), false, 'patience or not')
  const close = { ...drain, demand: 95, dirtied: 95 } // 400 at 5 a second: 80 s
  t.equal(throttleNeeded({ ...free, drain: close }), true, 'would take longer than the patience')
  t.equal(throttleNeeded({ ...free, drain: close, patienceMs: 81_000 }), false)
  t.equal(throttleNeeded({ ...free, patienceMs: Infinity }), true, 'no patience suffices for that')
  t.end()
})

t.test('a deadline', (t) => {
  const slow = { ...drain, demand: 60, dirtied: 60 } // 400 at 40 a second: 10 s
  t.equal(throttleNeeded({ ...free, drain: slow, deadlineMs: 12_600 }), false)
  t.equal(throttleNeeded({ ...free, drain: slow, deadlineMs: 12_400 }), true)
  t.end()
})

t.test('how much is allowed', (t) => {
  t.equal(allowedDirtyRate(free, 0.25), 25)
  // 400 in 80 % of 10 s: 50 a second; of 6.25 s: 80; of 4 s: more than there is
  t.equal(allowedDirtyRate({ ...free, deadlineMs: 10_000 }, 0.75), 50)
  t.equal(allowedDirtyRate({ ...free, deadlineMs: 6_250 }, 0.25), 20)
  t.equal(allowedDirtyRate({ ...free, deadlineMs: 4_000 }, 0.25), 2)
  t.equal(allowedDirtyRate({ ...free, drain: { ...drain, dirty: 50 }, deadlineMs: 1 }, 0.25), 25)
  t.end()
})

t.test('when the limit is spare', (t) => {
  const on = { since: 0, demand: 150, limit: 25 }
  t.equal(throttleSpare(on, 0.9, 0.9, free), false, 'it holds a writer who would outrun the link')
  t.equal(throttleSpare(on, 0, 0.9, free), true, 'nobody is delayed by it')
  t.equal(throttleSpare(on, 0.9, 0.3, free), true, 'the writer keeps to few blocks')
  t.equal(throttleSpare(on, 0.9, 0.5, free), false, 'but not that few')
  t.equal(throttleSpare({ ...on, demand: 40 }, 0.9, 1, free), true, 'the link has grown')
  t.end()
})

t.test('unique bytes per byte written, with a margin', (t) => {
  t.equal(uniqueRatio(writer), 90 / 150 * 1.1)
  t.equal(uniqueRatio({ ...writer, written: 0 }), 1)
  t.equal(uniqueRatio({ ...writer, dirtied: 0 }), 0.02)
  t.equal(uniqueRatio({ ...writer, dirtied: 1200 }), 8.8, 'writes of 512 bytes')
  t.end()
})

t.test('the floor that the write latency sets', (t) => {
  t.equal(latencyFloor(undefined, writer), 0)
  t.equal(latencyFloor(20, writer), 204_800, '4 KiB in 20 ms')
  t.equal(latencyFloor(20, { ...writer, delayShare: 0.5 }), 204_800)
  t.equal(latencyFloor(20, { ...writer, delayShare: 10 }), 2_048_000, 'ten wait at a time')
  t.end()
})

t.test('the burst fits into the residual', (t) => {
  t.equal(burstSize(1e6, 8e6), 50_000)
  t.equal(burstSize(1e6, 80_000), 10_000)
  t.equal(burstSize(1000, 0), 4096)
  t.end()
})
