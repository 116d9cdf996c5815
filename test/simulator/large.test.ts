// Sizes that no test machine holds, in simulated time. The disk is cut into 65,536 regions
// (disk.ts), claims and writes come in steps of a few ms or more, and decisions less often while
// the end is far.
import t from 'tap'
import { Disk } from './disk.js'
import { Link } from './link.js'
import { simulate } from './migration.js'
import { zipf } from './patterns.js'
import { Random } from '../../testbed/support/random.js'

const cases = [
  {
    name: '10 TiB at 10 Gbit/s',
    size: 10 * 2 ** 40,
    rate: 1.25e9,
    roundTripMs: 1,
    downtimeMs: 300,
    step: 16 << 20
  },
  {
    name: '100 GiB at 5 Mbit/s, 100 ms',
    size: 100 * 2 ** 30,
    rate: 625_000,
    roundTripMs: 100,
    downtimeMs: 1000,
    step: 128 << 10
  }
]

for (const { name, size, rate, roundTripMs, downtimeMs, step } of cases) {
  for (const load of [0.5, 1.5]) {
    t.test(`${name}, a writer at ${load} times the link`, (t) => {
      const random = new Random(1)
      const disk = new Disk(size, 2 ** 16)
      const outcome = simulate({
        disk,
        random,
        link: new Link({ rate, roundTripMs }),
        budgets: { downtimeMs },
        writer: { pattern: zipf(disk, random, 0.9), rate: () => load * rate, batch: 2 * step },
        quantum: step,
        tickMs: [100, 5000],
        limitMs: 20 * size * 1000 / rate
      })
      t.equal(outcome.end, 'switched')
      t.ok(outcome.downtimeMs <= downtimeMs, `${outcome.downtimeMs} ms`)
      t.ok(outcome.wireBytes < 2 * size, `${outcome.wireBytes / size} times the size`)
      if (load < 0.7) t.equal(outcome.throttledMs, 0)
      t.end()
    })
  }
}
