import t from 'tap'
import type { Drain } from '../../lib/policy/drain-time.js'
import { drainTime } from '../../lib/policy/drain-time.js'

/** A uniform writer over everything, as shares of the disk and of the link. */
function uniform (dirty: number, demand: number, target = 0.01): Drain {
  return { dirty, target, capacity: 1, demand, dirtied: demand * (1 - dirty) }
}

/** dQ/dt step by step. */
function integrate ({ dirty, target, capacity, demand }: Drain): number {
  const step = 1e-5
  let seconds = 0
  for (let left = dirty; left > target; seconds += step) {
    left -= step * (capacity - demand * (1 - left))
  }
  return seconds * 1000
}

t.test('draining against a uniform writer', (t) => {
  // b = 1, w = 0.5, Q = 0.4 → 0.1: ln(0.7 / 0.55) / 0.5 s
  t.ok(Math.abs(drainTime(uniform(0.4, 0.5, 0.1)) - 482.3) < 0.1)
  for (const demand of [0.1, 0.5, 0.9, 0.99]) {
    const drain = uniform(0.4, demand)
    t.ok(Math.abs(drainTime(drain) - integrate(drain)) < 1, `w = ${demand}`)
  }
  t.end()
})

t.test('draining without a writer, and against one whose blocks are all clean', (t) => {
  t.equal(drainTime({ dirty: 10, target: 0, capacity: 5, demand: 0, dirtied: 0 }), 2000)
  t.equal(drainTime({ dirty: 10, target: 1, capacity: 5, demand: 2, dirtied: 2 }), 3000)
  t.end()
})

t.test('what never drains', (t) => {
  t.equal(drainTime(uniform(0.4, 1.2)), Infinity, 'a writer that outruns the link')
  t.equal(drainTime(uniform(0.4, 3)), Infinity, 'even now')
  t.equal(drainTime({ ...uniform(0.4, 0.5), capacity: 0 }), Infinity, 'a dead link')
  t.equal(drainTime(uniform(0.01, 3)), 0, 'there already')
  t.end()
})
