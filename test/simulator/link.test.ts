import t from 'tap'
import { Gate } from './gate.js'
import { Link } from './link.js'

t.test('one after the other, at the rate', (t) => {
  const link = new Link({ rate: 1000, roundTripMs: 10 })
  t.equal(link.send(0, 500), 500)
  t.equal(link.send(100, 500), 1000)
  t.equal(link.send(2000, 100), 2100)
  t.end()
})

t.test('a rate that changes on the way', (t) => {
  const changes = [{ at: 500, rate: 100 }, { at: 1500, rate: 0 }, { at: 2500, rate: 2000 }]
  const link = new Link({ rate: 1000, roundTripMs: 0, changes })
  t.equal(link.send(0, 600), 1500)
  t.equal(link.send(0, 200), 2600)
  t.end()
})

t.test('noise keeps the mean', (t) => {
  const link = new Link({ rate: 1000, roundTripMs: 0, noise: 0.2, seed: 3 })
  const end = link.send(0, 1_000_000)
  t.ok(Math.abs(end - 1_000_000) < 10_000, `${end}`)
  t.equal(new Link({ rate: 1000, roundTripMs: 0, noise: 0.2, seed: 3 }).send(0, 1_000_000), end)
  t.not(new Link({ rate: 1000, roundTripMs: 0, noise: 0.2, seed: 4 }).send(0, 1_000_000), end)
  t.end()
})

t.test('the gate: a bucket', (t) => {
  const gate = new Gate()
  t.equal(gate.take(0, 4096, 1), 0)
  gate.set({ bytesPerSecond: 4096, burstBytes: 4096, steps: [] }, 0)
  t.equal(gate.take(0, 4096, 1), 0, 'the balance may go below zero')
  t.equal(gate.take(0, 4096, 1), 1000)
  t.equal(gate.take(1000, 4096, 1), 1000)
  t.equal(gate.take(100_000, 4096, 1), 0, 'saved up, but no more than the burst')
  t.equal(gate.take(100_000, 4096, 1), 0)
  t.equal(gate.take(100_000, 4096, 1), 1000)
  gate.set(null, 100_000)
  t.equal(gate.take(100_000, 4096, 1), 0)
  t.end()
})

t.test('the gate: steps', (t) => {
  const gate = new Gate()
  const steps = [{ afterWrites: 2, delayUs: 1000 }, { afterWrites: 3, delayUs: 5000 }]
  gate.set({ bytesPerSecond: 0, burstBytes: 0, steps }, 0)
  t.same([1, 2, 3, 4, 5].map(() => gate.take(0, 4096, 1)), [0, 0, 1, 5, 5])
  gate.beginRound()
  t.equal(gate.take(0, 4096, 1), 0)
  t.end()
})
