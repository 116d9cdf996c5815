// The converge benchmark's grid in simulated time, and two sizes that no test machine holds.
//
//   node dist/test/simulator/sweep.js [--json] [--small]     small: without the two large ones
import { Disk } from './disk.js'
import { Link } from './link.js'
import type { Outcome } from './migration.js'
import { simulate } from './migration.js'
import { sequential, uniform, zipf } from './patterns.js'
import { Random } from '../../testbed/support/random.js'

const kMbit = 125_000
const patterns = {
  random: (disk: Disk, random: Random) => uniform(disk, random),
  'zipf 0.9': (disk: Disk, random: Random) => zipf(disk, random, 0.9),
  'zipf 1.2': (disk: Disk, random: Random) => zipf(disk, random, 1.2),
  sequential: (disk: Disk) => sequential(disk)
}

interface Row {
  name: string
  seconds: number
  bytesOverSize: number
  downtimeMs: number
  rounds: number
  throttledSeconds: number
  delayedShare: number
  end: string
}

function row (name: string, size: number, outcome: Outcome): Row {
  return {
    name,
    seconds: outcome.totalMs / 1000,
    bytesOverSize: outcome.wireBytes / size,
    downtimeMs: outcome.downtimeMs,
    rounds: outcome.rounds,
    throttledSeconds: outcome.throttledMs / 1000,
    delayedShare: outcome.delayMs / outcome.totalMs,
    end: outcome.end
  }
}

function grid (): Row[] {
  const size = 2 ** 30
  const rate = 50 * kMbit
  const rows: Row[] = []
  for (const [name, pattern] of Object.entries(patterns)) {
    for (const times of [0.2, 0.5, 0.9, 1.5, 4]) {
      const random = new Random(1)
      const disk = new Disk(size, 2 ** 18)
      const outcome = simulate({
        disk,
        random,
        link: new Link({ rate, roundTripMs: 1, noise: 0.05, seed: 1 }),
        budgets: { downtimeMs: 300 },
        writer: { pattern: pattern(disk, random), rate: () => times * rate },
        checkpointNoise: 0.3,
        limitMs: 3_600_000
      })
      rows.push(row(`${name} × ${times}`, size, outcome))
    }
  }
  return rows
}

function large (): Row[] {
  const cases = [
    {
      name: '10 TiB, 10 Gbit/s',
      size: 10 * 2 ** 40,
      mbit: 10_000,
      rtt: 1,
      downtimeMs: 300,
      step: 16 << 20
    },
    {
      name: '100 GiB, 5 Mbit/s, 100 ms',
      size: 100 * 2 ** 30,
      mbit: 5,
      rtt: 100,
      downtimeMs: 1000,
      step: 128 << 10
    }
  ]
  const rows: Row[] = []
  for (const { name, size, mbit, rtt, downtimeMs, step } of cases) {
    for (const times of [0.2, 0.9, 1.5]) {
      const random = new Random(1)
      const disk = new Disk(size, 2 ** 16)
      const rate = mbit * kMbit
      const outcome = simulate({
        disk,
        random,
        link: new Link({ rate, roundTripMs: rtt }),
        budgets: { downtimeMs },
        writer: {
          pattern: zipf(disk, random, 0.9), rate: () => times * rate, batch: 2 * step
        },
        quantum: step,
        tickMs: [100, 5000],
        limitMs: 20 * size * 1000 / rate
      })
      rows.push(row(`${name}, zipf × ${times}`, size, outcome))
    }
  }
  return rows
}

function print (rows: Row[]): void {
  if (process.argv.includes('--json')) {
    for (const row of rows) console.log(JSON.stringify(row))
    return
  }
  for (const row of rows) {
    console.log(row.name.padEnd(36), row.seconds.toFixed(1).padStart(9), 's',
      row.bytesOverSize.toFixed(2).padStart(6), '×', row.downtimeMs.toFixed(0).padStart(5), 'ms',
      String(row.rounds).padStart(5), 'rounds', row.throttledSeconds.toFixed(1).padStart(8),
      's throttled', (100 * row.delayedShare).toFixed(0).padStart(4), '% delayed', row.end)
  }
}

print(grid())
if (!process.argv.includes('--small')) print(large())
