// Where a fault strikes in a migration: what a seed draws.
import type { MigrationEvent } from '../../lib/index.js'
import type { Random } from '../support/random.js'
import type { FaultyLink } from './faulty-link.js'
import { kData } from './written-disk.js'

/** A migration's. */
interface Events {
  on<N extends MigrationEvent['event']>(
    name: N, listener: (event: Extract<MigrationEvent, { event: N }>) => void
  ): unknown
}

export interface Planned {
  /** Answers how long it lasts: ms, or Infinity for good. */
  strike: () => number
  heal: () => unknown
}

/** At a step of the switchover, some bytes on, or some time on. The result forgets about it. */
export function plan (
  events: Events, link: FaultyLink, random: Random, { strike, heal }: Planned
): () => void {
  let isForgotten = false
  const keep = () => {
    if (isForgotten) return
    const lastsMs = strike()
    if (lastsMs < Infinity) setTimeout(heal, lastsMs).unref()
  }
  const when = random.next()
  if (when < 0.5) atStep(events, link, random, keep)
  else if (when < 0.8) afterBytes(events, link, random, keep)
  else setTimeout(keep, random.scaleBetween(1, 1500)).unref()
  return () => { isForgotten = true }
}

function atStep (
  events: Events, link: FaultyLink, random: Random, keep: () => void
): void {
  const step = random.pick(['pause', 'residual', 'commit'])
  const bytes = random.pick([0, 1, 100, 10_000])
  let isDue = true
  events.on('switchover', (event) => {
    if (event.step !== step || !isDue) return
    isDue = false
    if (bytes === 0) keep()
    else link.after(bytes, keep)
  })
}

function afterBytes (
  events: Events, link: FaultyLink, random: Random, keep: () => void
): void {
  link.after(random.scaleBetween(10, 4 * kData), keep)
  if (random.next() < 0.5) {
    events.on('reconnected', () => link.after(random.scaleBetween(10, 4 * kData), keep))
  }
}
