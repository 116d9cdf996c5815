import t from 'tap'
import type { History } from '../../lib/policy/estimate.js'
import {
  emptyHistory, estimateLink, estimateWireRatio, estimateWriter, lastRate, mean, observe, quantile
} from '../../lib/policy/estimate.js'
import type { Sample } from '../../lib/policy/types.js'
import { samples, zero } from './samples.js'

/** From the first acknowledgement on. */
const start: Sample = { ...zero, wire: 1, content: 1 }

function history (...stretches: Sample[][]): History {
  return [start, ...stretches.flat()].reduce(observe, emptyHistory)
}

t.test('quantile and mean', (t) => {
  t.equal(quantile([4, 1, 3, 2], 0.25), 1.75)
  t.equal(quantile([4, 1, 3, 2], 0), 1)
  t.equal(quantile([4, 1, 3, 2], 1), 4)
  t.equal(quantile([7], 0.25), 7)
  t.equal(quantile([], 0.5), null)
  t.equal(mean([1, 2, 6]), 3)
  t.equal(mean([]), null)
  t.end()
})

t.test('goodput of a steady link', (t) => {
  const link = estimateLink(history(samples(start, 20, { link: 1e6 })))
  t.match(link, { pessimistic: 1e6, mean: 1e6, peak: 1e6, settled: true })
  t.end()
})

t.test('nothing is known before the first acknowledgement', (t) => {
  const silent = samples(zero, 30, {})
  t.equal(estimateLink(silent.reduce(observe, emptyHistory)), null)
  t.end()
})

t.test('the way to the first acknowledgement does not count as a slow link', (t) => {
  const far = samples(zero, 5, {})
  const first = { ...far.at(-1)!, now: 600, wire: 100 }
  const all = [zero, ...far, first, ...samples(first, 10, { link: 1e6 })]
  t.equal(estimateLink(all.reduce(observe, emptyHistory))?.pessimistic, 1e6)
  t.end()
})

t.test('a collapse counts within two seconds, a rise only when it lasts', (t) => {
  const good = samples(start, 100, { link: 1e6 })
  const bad = samples(good.at(-1)!, 20, { link: 1e5 })
  const link = estimateLink(history(good, bad))!
  t.ok(Math.abs(link.pessimistic - 1e5) < 1)
  t.ok(link.mean > 7e5)
  const better = samples(good.at(-1)!, 12, { link: 3e6 })
  t.ok(Math.abs(estimateLink(history(good, better))!.pessimistic - 1e6) < 1)
  t.end()
})

t.test('slices in which the sender ran dry are no measure, unless they show more', (t) => {
  const busy = samples(start, 20, { link: 1e6 })
  const dry = samples(busy.at(-1)!, 20, { link: 1e4, idle: true })
  t.equal(estimateLink(history(busy, dry))?.pessimistic, 1e6)
  const fast = samples(busy.at(-1)!, 100, { link: 5e6, idle: true })
  t.ok(estimateLink(history(busy, fast))!.pessimistic > 1e6)
  t.end()
})

t.test('a sender that ran dry before a long line kept the link busy', (t) => {
  const line = samples(start, 20, { link: 1e6, idle: true })
    .map((sample) => ({ ...sample, inFlight: 5e6 }))
  t.match(estimateLink(history(line)), { pessimistic: 1e6, settled: true })
  t.end()
})

t.test('of a sender that always ran dry, the most it did in a second', (t) => {
  const dry = samples(start, 20, { link: 1e5, idle: true })
  t.match(estimateLink(history(dry)), { pessimistic: 1e5, settled: false })
  t.end()
})

t.test('the bandwidth cap', (t) => {
  const link = estimateLink(history(samples(start, 20, { link: 1e6 })), 4e5)
  t.match(link, { pessimistic: 4e5, mean: 4e5, peak: 4e5 })
  t.end()
})

t.test('irregular samples give the same rates', (t) => {
  const steps = [30, 30, 700, 20, 5000, 100, 100, 350, 1, 900]
  let last = start
  const irregular = steps.map((step) => {
    last = samples(last, 1, { link: 1e6, dirtied: 2e5 }, step)[0]!
    return last
  })
  const seen = history(irregular)
  t.ok(Math.abs(estimateLink(seen)!.mean - 1e6) < 1)
  t.ok(Math.abs(estimateWriter(seen, 30_000).dirtied - 2e5) < 1)
  t.end()
})

t.test('wire bytes per content byte', (t) => {
  const packed = history(samples(start, 20, { link: 5e5, content: 1e6 }))
  // Half-way from 0.5 to no compression at all.
  t.match(estimateWireRatio(packed, start), { pessimistic: 0.75, mean: 0.5 })
  const nothing = { ...zero, content: 1000, wire: 300, inFlight: 200 }
  t.match(estimateWireRatio(emptyHistory, nothing), { pessimistic: 1, mean: 0.5 })
  t.match(estimateWireRatio(emptyHistory, zero), { pessimistic: 1, mean: 1 })
  t.end()
})

t.test('what is on its way counts as handed over', (t) => {
  const growing = samples(start, 20, { link: 5e5, content: 1e6 })
    .map((sample, index) => ({ ...sample, inFlight: (index + 1) * 5e4 }))
  const ratio = estimateWireRatio(history(growing), start)
  t.ok(Math.abs(ratio.mean - 1) < 0.03, `${ratio.mean}`)
  t.end()
})

t.test('the writers, over a window', (t) => {
  const slow = samples(start, 100, { written: 1e6, dirtied: 5e5 })
  const quick = samples(slow.at(-1)!, 20, { written: 3e6, dirtied: 1e6, delayMs: 100 })
  const seen = history(slow, quick)
  const recent = estimateWriter(seen, 2000)
  t.ok(Math.abs(recent.written - 3e6) < 1)
  t.ok(Math.abs(recent.dirtied - 1e6) < 1)
  t.ok(Math.abs(recent.delayShare - 0.1) < 1e-6)
  t.ok(Math.abs(recent.writeSize - 4096) < 20)
  const all = estimateWriter(seen, 30_000)
  t.ok(Math.abs(all.written - (10 * 1e6 + 2 * 3e6) / 12) < 1)
  t.match(estimateWriter(emptyHistory, 1000), { written: 0, dirtied: 0, writeSize: 4096 })
  t.end()
})

t.test('old slices are forgotten, a restart forgets all', (t) => {
  const long = history(samples(start, 1000, { link: 1e6 }))
  t.ok(long.slices.length <= 150)
  t.ok(long.capacities.length <= 50)
  const again = observe(long, { ...zero, now: 200_000 })
  t.equal(again.slices.length, 0)
  t.equal(estimateLink(again), null)
  t.equal(lastRate(again), 0)
  t.equal(Math.round(lastRate(long)), 1e6)
  t.end()
})
