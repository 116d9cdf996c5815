// What may happen to a link, by name. Each answers how long it lasts: ms, or Infinity for good.
import type { Random } from '../support/random.js'
import type { FaultyLink, Side } from './faulty-link.js'
import type { Faults } from './trial.js'

type Strike = (link: FaultyLink, random: Random) => number

const kSides: readonly Side[] = ['source', 'destination']
/** More than any patience of a trial: as good as for good. */
const kForGood = Infinity

function aWhile (random: Random): number {
  return random.scaleBetween(5, 2500)
}

const kStrikes: Readonly<Record<string, Strike>> = {
  cut: (link, random) => {
    link.cut()
    return aWhile(random)
  },
  'cut for good': (link) => {
    link.cut()
    return kForGood
  },
  reset: (link) => {
    link.reset()
    return 0
  },
  stall: (link, random) => {
    link.stall()
    return aWhile(random)
  },
  'stall for good': (link) => {
    link.stall()
    return kForGood
  },
  'half open': (link, random) => {
    link.lose(random.pick(kSides))
    return aWhile(random)
  },
  'half open for good': (link, random) => {
    link.lose(random.pick(kSides))
    return kForGood
  },
  'a byte at a time': (link, random) => {
    link.carrySingly(Math.round(random.scaleBetween(50, 3000)))
    return 500
  },
  collapse: (link, random) => {
    link.collapse(random.scaleBetween(20e3, 2e6))
    return aWhile(random)
  },
  corruption: (link, random) => {
    link.damage(random.pick(kSides))
    return 100
  },
  'streams that lag': (link, random) => {
    link.lag = () => random.between(0, 15)
    link.reset()
    return 0
  }
}

export const linkFaults: Faults = Object.fromEntries(
  Object.entries(kStrikes).map(([name, strike]) => [
    name, () => ({ strike, heal: (link: FaultyLink) => link.heal() })
  ]))
