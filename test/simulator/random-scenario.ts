// Scenarios drawn at random for the property tests: small enough to simulate some hundred of
// them, different enough to meet the corners.
import type { Budgets } from '../../lib/policy/types.js'
import { Disk, kBlock } from './disk.js'
import { Link } from './link.js'
import type { Scenario } from './migration.js'
import type { Pattern } from './patterns.js'
import { sequential, uniform, zipf } from './patterns.js'
import { Random } from '../../testbed/support/random.js'

export interface Drawn {
  scenario: Scenario
  /** Bytes/s: the link's mean rate over the wire ratio, and what the writer asks for on average. */
  capacity: number
  demand: number
  description: string
}

export interface Wishes {
  /** Of the writer's rate over the link's. */
  load?: readonly [number, number]
  budgets?: Budgets
  changes?: boolean
}

/** The same seed gives the same scenario. */
export function drawScenario (seed: number, wishes: Wishes = {}): Drawn {
  const random = new Random(seed)
  const blocks = Math.round(random.scaleBetween(2_000, 30_000))
  const disk = new Disk(blocks * kBlock, 2 ** 18)
  const bulkSeconds = random.scaleBetween(4, 40)
  const wireRatio = random.pick([0.3, 0.6, 1, 1])
  const rate = disk.size * wireRatio / bulkSeconds
  const roundTripMs = random.pick([0.2, 1, 20, 100])
  const [least, most] = wishes.load ?? [0.02, 5]
  const load = random.scaleBetween(least, most)
  const noise = random.pick([0, 0.05, 0.15])
  const { name, pattern } = drawPattern(disk, random)
  const bursts = random.next() < 0.25
  const capacity = rate / wireRatio
  const budgets = wishes.budgets ?? drawBudgets(random, roundTripMs, rate)
  const description = `seed ${seed}: ${blocks} blocks, bulk ${bulkSeconds.toFixed(1)} s, ` +
    `c ${wireRatio}, rtt ${roundTripMs} ms, ${name}${bursts ? ' bursts' : ''} × ` +
    `${load.toFixed(2)}, noise ${noise}, ${JSON.stringify(budgets)}`
  return {
    capacity,
    demand: load * capacity,
    description,
    scenario: {
      disk,
      link: new Link({ rate, roundTripMs, noise, seed }),
      random,
      budgets,
      writer: { pattern, rate: drawRate(random, load * capacity, bursts) },
      wireRatio,
      checkpointMs: random.scaleBetween(2, 40),
      checkpointNoise: random.pick([0, 0.2]),
      pauseMs: random.between(1, 10),
      tickMs: random.pick([50, 100, 100, 250]),
      limitMs: 100 * bulkSeconds * 1000
    }
  }
}

function drawPattern (disk: Disk, random: Random): { name: string, pattern: Pattern } {
  const name = random.pick(['uniform', 'hot', 'zipf', 'sequential'])
  switch (name) {
    case 'uniform': return { name, pattern: uniform(disk, random) }
    case 'hot': return { name, pattern: uniform(disk, random, random.between(0.01, 0.3), 0.5) }
    case 'zipf': return { name, pattern: zipf(disk, random, random.pick([0.8, 1, 1.2])) }
    default: return { name, pattern: sequential(disk, random.next()) }
  }
}

/** Evenly, or a quarter of the time four times as much. */
function drawRate (random: Random, rate: number, bursts: boolean): (now: number) => number {
  if (!bursts) return () => rate
  const period = random.between(800, 4000)
  return (now) => now % period < period / 4 ? 4 * rate : 0
}

/** From hopeless to generous. */
function drawBudgets (random: Random, roundTripMs: number, rate: number): Budgets {
  const pause = 15 + 2 * roundTripMs
  const block = kBlock * 1000 / rate
  const residual = random.scaleBetween(1, 400) * block
  return { downtimeMs: Math.round(pause + residual + random.between(0, 300)) }
}
