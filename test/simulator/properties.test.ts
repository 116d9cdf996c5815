// What must hold for any disk, link and writer. Each case is drawn from a seed, which a failure
// prints: BLOCKFERRY_SEED=n runs from that one on.
import type { Test } from 'tap'
import t from 'tap'
import type { Outcome } from './migration.js'
import { simulate } from './migration.js'
import type { Drawn, Wishes } from './random-scenario.js'
import { drawScenario } from './random-scenario.js'

const kFirstSeed = Number(process.env.BLOCKFERRY_SEED ?? 1)

/** Runs cases until one breaks the property, which answers what is wrong, or null. */
function holds (
  t: Test,
  cases: number,
  wishes: Wishes,
  property: (drawn: Drawn, outcome: Outcome) => string | null
): void {
  for (let seed = kFirstSeed; seed < kFirstSeed + cases; seed++) {
    const drawn = drawScenario(seed, wishes)
    const wrong = property(drawn, simulate(drawn.scenario))
    if (wrong !== null) return void t.fail(`${wrong} (${drawn.description})`)
  }
  t.pass(`${cases} cases`)
}

t.test('it ends, and a downtime budget that is not called infeasible is met', (t) => {
  let switched = 0
  holds(t, 300, {}, ({ scenario }, outcome) => {
    if (outcome.end === 'limit') return 'did not end'
    if (outcome.end === 'infeasible') return null
    switched++
    // No tolerance: the margins of the policy are there for what it can't know.
    return outcome.downtimeMs <= scenario.budgets.downtimeMs
      ? null
      : `took ${outcome.downtimeMs} ms, promised ${outcome.predictedMs} ms`
  })
  t.ok(switched > 250, `${switched} were feasible`)
  t.end()
})

t.test('a writer slower than the link is not throttled', (t) => {
  holds(t, 150, { load: [0.02, 0.7] }, (_, outcome) =>
    outcome.throttledMs === 0 ? null : `throttled for ${outcome.throttledMs} ms`)
  t.end()
})

t.test('a budget called infeasible comes with a figure that is feasible', (t) => {
  let infeasible = 0
  const wishes = (seed: number): Wishes => ({ budgets: { downtimeMs: 10 + seed % 60 } })
  for (let seed = kFirstSeed; seed < kFirstSeed + 120; seed++) {
    const first = simulate(drawScenario(seed, wishes(seed)).scenario)
    if (first.end !== 'infeasible') continue
    infeasible++
    const downtimeMs = first.infeasible!.feasible
    const drawn = drawScenario(seed, { budgets: { downtimeMs } })
    const second = simulate(drawn.scenario)
    if (second.end !== 'switched' || second.downtimeMs > downtimeMs) {
      t.fail(`${second.end}, ${second.downtimeMs} ms of ${downtimeMs} (${drawn.description})`)
    }
  }
  t.ok(infeasible > 30, `${infeasible} were infeasible`)
  t.end()
})

t.test('the time forecast is not absurd', (t) => {
  const seen = { all: 0, early: 0, late: 0 }
  holds(t, 150, {}, (_, outcome) => {
    if (outcome.end !== 'switched') return null
    for (const { now, eta } of outcome.forecasts) {
      const left = outcome.totalMs - now
      if (now < 2000 || left < 2000) continue
      if (eta === null) return `no forecast at ${now} ms`
      const [low, high] = eta
      if (low > high || low < 0) return `from ${low} to ${high} ms`
      if (low > 3 * left + 5000 || high > 10 * left + 5000) {
        return `${low} to ${high}, not ${left} ms`
      }
      seen.all++
      if (low > 1.2 * left + 1000) seen.early++
      if (high < 0.8 * left - 1000) seen.late++
    }
    return null
  })
  t.ok(seen.early < 0.05 * seen.all, `${seen.early} of ${seen.all} were over before it began`)
  t.ok(seen.late < 0.2 * seen.all, `${seen.late} of ${seen.all} were not over when it ended`)
  t.end()
})
