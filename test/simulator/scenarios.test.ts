// Single situations that a migration must get through.
import type { Test } from 'tap'
import t from 'tap'
import type { Decision } from '../../lib/policy/types.js'
import { Disk } from './disk.js'
import type { LinkOptions } from './link.js'
import { Link } from './link.js'
import type { Outcome, Scenario } from './migration.js'
import { simulate } from './migration.js'
import type { Pattern } from './patterns.js'
import { recorded, uniform } from './patterns.js'
import { Random } from '../../testbed/support/random.js'
import type { TraceName } from './traces.js'
import { readTrace } from './traces.js'

const kMiB = 2 ** 20
const kRate = 6.25e6 // 50 Mbit/s

interface Wish extends Partial<Omit<Scenario, 'disk' | 'link' | 'writer'>> {
  link?: Partial<LinkOptions>
  load?: number | ((now: number) => number)
  pattern?: (disk: Disk, random: Random) => Pattern
  depth?: number
}

/** 128 MiB over 50 Mbit/s: 21 s for the bulk copy. */
function run ({ link, load = 0, pattern = uniform, depth = 1, ...rest }: Wish): Outcome {
  const disk = new Disk(128 * kMiB, 2 ** 18)
  const random = new Random(5)
  const loadAt = typeof load === 'number' ? () => load : load
  return simulate({
    disk,
    random,
    link: new Link({ rate: kRate, roundTripMs: 1, noise: 0.05, ...link }),
    budgets: { downtimeMs: 300 },
    writer: { pattern: pattern(disk, random), rate: (now) => loadAt(now) * kRate, depth },
    limitMs: 600_000,
    ...rest
  })
}

function met (t: Test, outcome: Outcome, downtimeMs = 300): void {
  t.equal(outcome.end, 'switched')
  t.ok(outcome.downtimeMs <= downtimeMs, `${outcome.downtimeMs} ms`)
}

t.test('nobody writes: every block once', (t) => {
  const outcome = run({})
  met(t, outcome)
  t.equal(outcome.contentBytes, 128 * kMiB)
  t.equal(outcome.throttledMs, 0)
  t.end()
})

t.test('holes cost next to nothing', (t) => {
  const outcome = run({ holes: 0.5, load: 0.2 })
  met(t, outcome)
  t.ok(outcome.wireBytes < 85 * kMiB)
  t.end()
})

t.test('a link that collapses in the tail, and comes back', (t) => {
  const changes = [{ at: 23_000, rate: kRate / 20 }, { at: 60_000, rate: kRate }]
  const outcome = run({ load: 0.9, link: { changes } })
  met(t, outcome)
  t.ok(outcome.totalMs > 60_000)
  t.end()
})

t.test('a link that stays slow: the budget is met at the new rate', (t) => {
  met(t, run({ load: 0.5, link: { changes: [{ at: 15_000, rate: kRate / 4 }] } }))
  t.end()
})

t.test('a link that is gone for a while', (t) => {
  const changes = [{ at: 10_000, rate: 0 }, { at: 25_000, rate: kRate }]
  const outcome = run({ load: 0.3, link: { changes } })
  met(t, outcome)
  t.ok(outcome.totalMs > 35_000)
  t.end()
})

t.test('a writer that starts in the tail', (t) => {
  const outcome = run({ load: (now) => now < 20_000 ? 0.4 : 4 })
  met(t, outcome)
  t.ok(outcome.throttledMs > 0)
  t.end()
})

t.test('a writer that stops: the throttle goes with it', (t) => {
  const throttles: boolean[] = []
  const outcome = run({
    load: (now) => now < 40_000 ? 3 : 0.05,
    wantedAt: 30_000,
    budgets: { downtimeMs: 45 },
    watch: (_, { throttle }) => void throttles.push(throttle !== null)
  })
  met(t, outcome, 45)
  t.ok(throttles.includes(true))
  t.end()
})

t.test('bursts at twice the link, a third of the time', (t) => {
  const outcome = run({ load: (now) => now % 6000 < 2000 ? 2 : 0 })
  met(t, outcome)
  t.equal(outcome.throttledMs, 0)
  t.end()
})

t.test('a hot spot written at four times the link needs no throttle', (t) => {
  const outcome = run({ load: 4, pattern: (disk, random) => uniform(disk, random, 0.002) })
  met(t, outcome)
  t.equal(outcome.throttledMs, 0)
  t.ok(outcome.contentBytes < 1.1 * 128 * kMiB, 'and is sent last')
  t.end()
})

t.test('a manual switchover: no throttle before it is asked for', (t) => {
  let early = 0
  const outcome = run({
    load: 2,
    wantedAt: 60_000,
    watch: (sample, { throttle }) => { if (!sample.wanted && throttle !== null) early++ }
  })
  met(t, outcome)
  t.equal(early, 0)
  t.ok(outcome.totalMs > 60_000)
  t.end()
})

t.test('a budget that is tightened on the way', (t) => {
  met(t, run({ load: 0.9, change: { at: 15_000, budgets: { downtimeMs: 60 } } }), 60)
  t.end()
})

t.test('the bandwidth budget slows the forecast, not only the link', (t) => {
  const rate = kRate / 2
  met(t, run({ load: 0.2, link: { rate }, budgets: { downtimeMs: 300, bandwidth: rate } }))
  t.end()
})

t.test('many round trips away, a tight budget', (t) => {
  met(t, run({ load: 0.8, link: { roundTripMs: 100 }, budgets: { downtimeMs: 250 } }), 250)
  t.end()
})

t.test('a deadline too near for a second copy: the writer is held in the first', (t) => {
  const budgets = { downtimeMs: 300, deadlineMs: 30_000 }
  const outcome = run({ load: 4, budgets })
  met(t, outcome)
  t.ok(outcome.totalMs <= budgets.deadlineMs, `${outcome.totalMs} ms`)
  const ample = run({ load: 4, budgets: { downtimeMs: 300, deadlineMs: 600_000 } })
  t.ok(ample.totalMs > 30_000, 'no sooner than it has to be')
  t.end()
})

t.test('a deadline is met by a throttle, or called infeasible with one that can be met', (t) => {
  const budgets = { downtimeMs: 300, deadlineMs: 42_000 }
  const free = run({ load: 0.9 })
  t.ok(free.totalMs > budgets.deadlineMs, 'without it, it takes longer')
  const outcome = run({ load: 0.9, budgets })
  met(t, outcome)
  t.ok(outcome.totalMs <= budgets.deadlineMs, `${outcome.totalMs} ms`)
  const hopeless = run({ load: 0.9, budgets: { downtimeMs: 300, deadlineMs: 10_000 } })
  t.match(hopeless, { end: 'infeasible', infeasible: { budget: 'deadline', asked: 10_000 } })
  const deadlineMs = hopeless.infeasible!.feasible
  const again = run({ load: 0.9, budgets: { downtimeMs: 300, deadlineMs } })
  met(t, again)
  t.ok(again.totalMs <= deadlineMs)
  t.end()
})

t.test('a write latency that is kept, and one that cannot be', (t) => {
  const kept = run({ load: 3, depth: 4, budgets: { downtimeMs: 300, writeLatencyMs: 50 } })
  met(t, kept)
  t.ok(kept.throttledMs > 0)
  t.ok(kept.delayMs / kept.writes < 50)
  const broken = run({ load: 3, depth: 64, budgets: { downtimeMs: 300, writeLatencyMs: 5 } })
  t.match(broken, { end: 'infeasible', infeasible: { budget: 'writeLatency', asked: 5 } })
  const writeLatencyMs = broken.infeasible!.feasible
  met(t, run({ load: 3, depth: 64, budgets: { downtimeMs: 300, writeLatencyMs } }))
  t.end()
})

t.test('the paper\'s steps meet the budget, too', (t) => {
  const outcome = run({ load: 2, options: { throttle: 'steps' } })
  met(t, outcome)
  t.ok(outcome.delayMs > 0)
  t.end()
})

t.test('without a throttle a writer that outruns the link keeps it from ending', (t) => {
  let last: Decision | null = null
  const outcome = run({
    load: 2,
    options: { throttle: 'none' },
    limitMs: 120_000,
    watch: (_, decision) => { last = decision }
  })
  t.equal(outcome.end, 'limit')
  t.match(last, { fits: false, forecast: { eta: null, limitedBy: 'writer' } })
  t.end()
})

for (const name of ['ext4-small-files', 'ext4-untar', 'ext4-zipf-fsync'] as TraceName[]) {
  t.test(`recorded: ${name}`, (t) => {
    const trace = readTrace(name)
    t.ok(trace.offsetsAndCounts.length > 1000)
    for (const load of [0.5, 2]) {
      const outcome = run({
        load,
        pattern: (disk) => recorded(disk, trace.offsetsAndCounts, trace.diskSize)
      })
      met(t, outcome)
      if (load < 0.7) t.equal(outcome.throttledMs, 0)
    }
    t.end()
  })
}
