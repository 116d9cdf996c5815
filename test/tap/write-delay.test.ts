// How long writes are delayed, for writers of any depth.
import t from 'tap'

import { nextDelay } from '../../lib/tap/limit/write-delay.js'

const kLimit = 1_000_000

/** `depth` writes of so many bytes wait at a time, and each takes so long by itself, ms. */
const rateAt = (delayMs: number, depth: number, size: number, ownMs: number) =>
  depth * size * 1000 / (delayMs + ownMs)

for (const depth of [1, 4, 32, 128]) {
  for (const size of [4096, 65536]) {
    t.test(`${depth} writes of ${size} bytes at a time`, (t) => {
      const least = rateAt(2000, depth, size, 0.2)
      let delay = 0
      for (let look = 0; look < 20; look++) delay = nextDelay(delay, rateAt(delay, depth, size, 0.2) / kLimit)
      const rate = rateAt(delay, depth, size, 0.2)
      if (least > kLimit) t.equal(delay, 2000, 'it can do no more')
      else t.ok(rate <= 1.1 * kLimit && rate >= 0.6 * kLimit, `${rate}`)
      t.end()
    })
  }
}

t.test('the least delay stays when there would be far too many without', (t) => {
  const own = 0.01
  const limit = 2 * rateAt(1, 4, 65536, own)
  let delay = 0
  for (let look = 0; look < 20; look++) delay = nextDelay(delay, rateAt(delay, 4, 65536, own) / limit)
  t.equal(delay, 1)
  t.end()
})

t.test('writers that have ended are not delayed when they come again', (t) => {
  let delay = 2000
  for (let look = 0; look < 10; look++) delay = nextDelay(delay, 0)
  t.equal(delay, 0)
  t.end()
})
