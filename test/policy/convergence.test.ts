import t from 'tap'
import type { State } from '../../lib/policy/convergence.js'
import { decide, initialState, withBudgets } from '../../lib/policy/convergence.js'
import type { Budgets, Decision, PolicyOptions, Sample } from '../../lib/policy/types.js'
import type { Course } from './samples.js'
import { samples, zero } from './samples.js'

const kLink = 6.25e6

/** Plays stretches of samples and keeps the last state, sample and decision. */
class Play {
  state: State
  last: Sample
  decision!: Decision
  all: Decision[] = []

  constructor (budgets: Budgets, options: PolicyOptions = {}, first: Partial<Sample> = {}) {
    this.state = initialState(budgets, options)
    this.last = { ...zero, wire: 1, content: 1, checkpointMs: 20, ...first }
    this.see(this.last)
  }

  see (sample: Sample): this {
    const { state, decision } = decide(this.state, sample)
    this.state = state
    this.last = sample
    this.decision = decision
    this.all.push(decision)
    return this
  }

  go (seconds: number, course: Course, change: Partial<Sample> = {}): this {
    const first = { ...this.last, ...change }
    for (const sample of samples(first, seconds * 10, { link: kLink, ...course })) this.see(sample)
    return this
  }
}

/** In the tail, half a gigabyte left, the writer twice as fast as the link. */
function crowded (
  budgets: Budgets, options: PolicyOptions = {}, change: Partial<Sample> = {}
): Play {
  return new Play(budgets, options, { round: 1, unsent: 5e8, ...change })
    .go(15, { dirtied: 0.9 * kLink, written: 2 * kLink })
}

t.test('nothing known: no switchover unless next to nothing is left', (t) => {
  const play = new Play({ downtimeMs: 300 }, {}, { wire: 0 })
  t.match(play.decision, {
    throttle: null,
    fits: false,
    infeasible: null,
    forecast: { eta: null, predictedDowntimeMs: null }
  })
  play.see({ ...play.last, now: 100, unsent: 8192 })
  t.equal(play.decision.fits, true)
  play.see({ ...play.last, now: 200, unsent: 8192, checkpointMs: 400 })
  t.equal(play.decision.fits, false, 'the pause alone would take too long')
  t.end()
})

t.test('the bulk copy: no throttle whatever the writer does, an ETA that goes down', (t) => {
  const play = new Play({ downtimeMs: 300 }).go(20, { written: 4 * kLink, dirtied: 0.9 * kLink })
  t.ok(play.all.every(({ throttle, fits }) => throttle === null && !fits))
  const [low, high] = play.decision.forecast.eta!
  // 0.99 GB at 6.25 MB/s: 158 s, and nearly as much again that is dirtied meanwhile
  t.ok(low > 250_000 && low < 320_000, `${low}`)
  t.ok(high >= low && high < 1_000_000, `${high}`)
  t.equal(play.decision.forecast.limitedBy, 'link')
  play.go(50, { dirtied: 0 })
  t.ok(play.decision.forecast.eta![0] < low - 50_000)
  t.end()
})

t.test('it fits exactly when the residual does', (t) => {
  const play = new Play({ downtimeMs: 300 }, {}, { round: 1, unsent: 5e7 })
    .go(3, { dirtied: kLink })
  // t0 = 5 + 15 + 20; 90 % of 260 ms at 6.25 MB/s
  const allowed = 0.9 * 0.26 * kLink
  const now = play.last.now + 100
  t.equal(play.see({ ...play.last, now, unsent: allowed - 10 }).decision.fits, true)
  t.ok(Math.abs(play.decision.forecast.predictedDowntimeMs! - 300) < 0.1)
  t.match(play.decision.forecast, { eta: [0, 0], limitedBy: 'none', relax: null })
  t.equal(play.see({ ...play.last, unsent: allowed + 10 }).decision.fits, false)
  t.equal(play.see({ ...play.last, unsent: allowed - 10, inFlight: 1e6 }).decision.fits, false)
  t.equal(play.see({ ...play.last, unsent: 0, inFlight: 0, machineMs: 261 }).decision.fits, false)
  t.equal(play.see({ ...play.last, machineMs: 250 }).decision.fits, true)
  t.end()
})

t.test('a writer that outruns the link is throttled in the tail', (t) => {
  const { decision } = crowded({ downtimeMs: 300 })
  t.ok(decision.throttle !== null)
  // A quarter of the link for what is dirtied, which is 0.45 · 1.1 of what is written
  t.ok(Math.abs(decision.throttle!.bytesPerSecond - 0.25 * kLink / 0.495) < 0.02 * kLink)
  t.ok(decision.throttle!.burstBytes >= 4096 && decision.throttle!.burstBytes < 2e5)
  t.same(decision.throttle!.steps, [])
  t.equal(decision.forecast.limitedBy, 'writer')
  t.equal(decision.infeasible, null)
  t.ok(decision.forecast.eta !== null)
  t.end()
})

t.test('the bulk copy lasts until it has arrived, however long the line before the link', (t) => {
  const play = new Play({ downtimeMs: 300 }, {}, { round: 1, unsent: 5e8, inFlight: 20 * kLink })
  const course = { dirtied: 0.9 * kLink, written: 2 * kLink }
  t.equal(play.go(19, course).decision.throttle, null)
  t.ok(play.go(2, course).decision.throttle !== null)
  t.end()
})

t.test('but not when it is slower, nor when that is not wanted', (t) => {
  const slow = new Play({ downtimeMs: 300 }, {}, { round: 1, unsent: 5e8 })
    .go(30, { dirtied: 0.65 * kLink })
  t.ok(slow.all.every(({ throttle }) => throttle === null))
  t.equal(crowded({ downtimeMs: 300 }, { throttle: 'none' }).decision.throttle, null)
  const manual = crowded({ downtimeMs: 300 }, {}, { wanted: false })
  t.equal(manual.decision.throttle, null)
  manual.go(1, { dirtied: 0.9 * kLink, written: 2 * kLink }, { wanted: true })
  t.ok(manual.decision.throttle !== null, 'now it is')
  t.end()
})

t.test('the throttle is lifted when nobody is held by it, not while somebody is', (t) => {
  const play = crowded({ downtimeMs: 300 })
  play.go(15, { dirtied: 0.2 * kLink, written: 0.3 * kLink, delayMs: 900 })
  t.ok(play.decision.throttle !== null)
  play.go(15, { dirtied: 0.2 * kLink, written: 0.3 * kLink, delayMs: 0 })
  t.equal(play.decision.throttle, null)
  t.end()
})

t.test('the throttle is lifted when the link has grown', (t) => {
  const play = crowded({ downtimeMs: 300 })
  const held = { dirtied: 0.3 * kLink, written: 0.5 * kLink, delayMs: 900 }
  play.go(30, { link: 8 * kLink, content: 8 * kLink, ...held }, { unsent: 5e9 })
  t.equal(play.decision.throttle, null)
  t.end()
})

t.test('no throttle, but a figure, when even a pause without a residual takes too long', (t) => {
  const { decision } = crowded({ downtimeMs: 30 })
  t.equal(decision.throttle, null)
  // t0 = 40 ms and 32 KiB at 6.25 MB/s, with the margins: (40 + 5.8) · 1.2 + 20 · 0.3
  t.same(decision.infeasible, { budget: 'downtime', asked: 30, feasible: 61 })
  t.same(decision.forecast.relax, { budget: 'downtime', to: 61 })
  t.equal(crowded({ downtimeMs: 61 }).decision.infeasible, null)
  t.end()
})

t.test('budgets that change while it runs', (t) => {
  const play = crowded({ downtimeMs: 30 })
  play.state = withBudgets(play.state, { downtimeMs: 300 })
  play.go(1, { dirtied: 0.9 * kLink, written: 2 * kLink })
  t.equal(play.decision.infeasible, null)
  t.ok(play.decision.throttle !== null)
  play.state = withBudgets(play.state, { downtimeMs: 120_000 })
  play.go(1, { dirtied: 0.9 * kLink, written: 2 * kLink })
  t.equal(play.decision.fits, true)
  t.end()
})

t.test('a deadline that cannot be met, and one that asks for a throttle', (t) => {
  const slow = { dirtied: 0.5 * kLink, written: 0.5 * kLink }
  const within = (deadlineMs: number) =>
    new Play({ downtimeMs: 300, deadlineMs }, {}, { round: 1, unsent: 5e8 }).go(5, slow).decision
  const late = within(60_000)
  t.equal(late.infeasible?.budget, 'deadline')
  t.ok(late.infeasible!.feasible > 80_000) // 0.5 GB take 80 s by themselves
  const tight = within(130_000)
  t.equal(tight.infeasible, null)
  t.ok(tight.throttle !== null)
  t.equal(within(300_000).throttle, null)
  t.end()
})

t.test('a write latency that forbids the throttle needed', (t) => {
  const asked = 1 // 4 KiB in 1 ms: 4 MB/s at least; needed is 3.2 MB/s
  const play = crowded({ downtimeMs: 300, writeLatencyMs: asked })
  t.ok(play.decision.throttle!.bytesPerSecond >= 4.096e6)
  t.equal(play.decision.infeasible, null, 'it still drains')
  const harder = crowded({ downtimeMs: 300, writeLatencyMs: 0.3 }).decision
  t.equal(harder.infeasible?.budget, 'writeLatency')
  t.ok(harder.infeasible!.feasible >= 1)
  const writeLatencyMs = harder.infeasible!.feasible
  t.equal(crowded({ downtimeMs: 300, writeLatencyMs }).decision.infeasible, null)
  t.end()
})

t.test('the delay that is measured counts, too', (t) => {
  const play = crowded({ downtimeMs: 300, writeLatencyMs: 20 })
  const limit = play.decision.throttle!.bytesPerSecond
  // 770 writes a second, each delayed by 100 ms: many wait at once
  play.go(5, { dirtied: 0.4 * kLink, written: limit, delayMs: limit / 4096 * 100 })
  t.ok(play.decision.throttle!.bytesPerSecond > limit * 2)
  t.equal(play.decision.infeasible?.budget, 'writeLatency')
  t.end()
})

t.test('the paper\'s steps instead of the bucket', (t) => {
  const { throttle } = crowded({ downtimeMs: 300 }, { throttle: 'steps' }).decision
  t.equal(throttle!.bytesPerSecond, 0)
  t.ok(throttle!.steps.length > 1)
  t.ok(throttle!.steps.every(({ delayUs }) => delayUs > 0))
  t.end()
})

t.test('a milder throttle when asked for', (t) => {
  const mild = crowded({ downtimeMs: 300 }, { writerShare: 0.5 }).decision.throttle!
  t.ok(Math.abs(mild.bytesPerSecond - 0.5 * kLink / 0.495) < 0.02 * kLink)
  t.end()
})

t.test('a dead link: no switchover, no promise, no throttle out of thin air', (t) => {
  const play = new Play({ downtimeMs: 300 }, {}, { round: 1, unsent: 5e7 })
    .go(10, { dirtied: 0.1 * kLink })
    .go(10, { link: 0, dirtied: 0.1 * kLink }, { inFlight: 1e6 })
  t.match(play.decision, { fits: false, infeasible: null, forecast: { eta: null } })
  t.end()
})

t.test('the bandwidth budget', (t) => {
  const budgets = { downtimeMs: 300, bandwidth: kLink / 10 }
  const play = new Play(budgets, {}, { round: 1, unsent: 6e5 }).go(3, { dirtied: kLink })
  t.equal(play.decision.fits, false)
  play.state = withBudgets(play.state, { downtimeMs: 300 })
  t.equal(play.see({ ...play.last, now: play.last.now + 100 }).decision.fits, true)
  t.end()
})

t.test('it is pure', (t) => {
  const state = initialState({ downtimeMs: 300 })
  const course = [zero, ...samples({ ...zero, wire: 1 }, 40, { link: kLink, dirtied: 1e6 })]
  const play = () => {
    let now: State = state
    return course.map((sample) => {
      const frozen = Object.freeze({ ...sample })
      const { state, decision } = decide(Object.freeze(now), frozen)
      now = state
      return decision
    })
  }
  t.same(play(), play())
  t.same(state, initialState({ downtimeMs: 300 }))
  t.end()
})
