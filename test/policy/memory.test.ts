// How memory and disks share a link and a downtime budget.
import t from 'tap'

import type { Decision } from '../../lib/policy/types.js'
import { decide, initialState } from '../../lib/policy/convergence.js'
import type { MemoryAssessment } from '../../lib/policy/memory.js'
import { planMemory } from '../../lib/policy/memory.js'

const slow = { pessimistic: 600e3, mean: 620e3, peak: 640e3, settled: true }
const fast = { pessimistic: 1e9, mean: 1.1e9, peak: 1.2e9, settled: true }
const usual: MemoryAssessment = {
  link: slow,
  roundTripMs: 100,
  content: 40e6,
  wire: 10e6,
  dirtyRate: 0,
  downtimeMs: 800,
  predictedDowntimeMs: 300,
  disksReady: true
}

t.test('what the disks leave of the budget goes to memory, less some headroom', async (t) => {
  const { allowedMs } = planMemory(usual)
  t.ok(allowedMs > 300 && allowedMs < 500)
  const more = planMemory({ ...usual, predictedDowntimeMs: 100 })
  t.ok(more.allowedMs > allowedMs)
  t.ok(planMemory({ ...usual, predictedDowntimeMs: 790 }).allowedMs > 0, 'never nothing')
})

t.test('while the disks are not ready, or nothing is known, it may not pause', async (t) => {
  t.equal(planMemory({ ...usual, disksReady: false }).allowedMs, 0)
  t.equal(planMemory({ ...usual, link: null }).allowedMs, 0)
  t.equal(planMemory({ ...usual, link: { ...slow, pessimistic: 0 } }).allowedMs, 0)
})

t.test('memory that shrinks to a quarter goes four times as fast', async (t) => {
  t.equal(planMemory(usual).bytesPerSecond, 4 * slow.pessimistic)
  t.equal(planMemory({ ...usual, content: 0, wire: 0 }).bytesPerSecond, slow.pessimistic)
})

t.test('the queue keeps the link busy and no more', async (t) => {
  for (const link of [slow, fast]) {
    for (const roundTripMs of [0.05, 1, 100]) {
      const { maxInFlight } = planMemory({ ...usual, link, roundTripMs })
      const cable = link.peak * roundTripMs / 1000
      t.ok(maxInFlight >= cable, 'a full cable')
      t.ok(maxInFlight <= 1.25 * cable + Math.max(16_384, link.peak * 0.02), 'hardly more')
    }
  }
})

t.test('compressed on slow links, slowed down when it is dirtied too fast', async (t) => {
  t.equal(planMemory(usual).compress, true)
  t.equal(planMemory({ ...usual, link: fast }).compress, false)
  t.equal(planMemory(usual).help, false)
  t.equal(planMemory({ ...usual, dirtyRate: 1e6 }).help, false, 'it shrinks to a quarter')
  t.equal(planMemory({ ...usual, dirtyRate: 2e6 }).help, true)
  t.equal(planMemory({ ...usual, dirtyRate: 2e6, disksReady: false }).help, false, 'not before its turn')
})

t.test('a deadline counts the memory that is still to come, and so does the forecast', async (t) => {
  const at = (now: number, more: object) => ({
    now, size: 1e9, unsent: 50e6, inFlight: 0, content: 1e9 + now * 1000, wire: 1e9 + now * 1000,
    dirtied: now * 500, written: now * 500, writes: now, roundTripMs: 1, checkpointMs: 5, round: 1, idle: false,
    throttleDelayMs: 0, ...more
  })
  const lastOf = (more: object) => {
    let state = initialState({ downtimeMs: 300, deadlineMs: 200_000 })
    let last: Decision | null = null
    for (let now = 1; now < 20_000; now += 250) ({ state, decision: last } = decide(state, at(now, more)))
    return last!
  }
  const [alone, before] = [lastOf({}), lastOf({ memoryAhead: 60e6 })]
  t.equal(alone.throttle, null, 'without memory there is time')
  t.not(before.throttle, null, 'with 60 s of memory to come there is not')
  t.ok(before.forecast.eta![0] > alone.forecast.eta![0] + 50_000)
})
