// What a client's samples say about how long it went without service.

import type { Sample } from './programs/timeline.js'

/**
 * The longest time between the ends of two successful requests that followed each other, in
 * whole milliseconds; 0 when there were fewer than two. A failed request doesn't end it.
 */
export function longestGapMs (samples: readonly Sample[]): number {
  const ends = samples.filter(({ ok }) => ok).map(({ endMs }) => endMs)
  ends.sort((a, b) => a - b)
  const gaps = ends.slice(1).map((end, i) => Math.round(end - (ends[i] as number)))
  return gaps.reduce((longest, gap) => Math.max(longest, gap), 0)
}

/** The longest gap without the time between requests that there is anyway; at least 0. */
export function disruptionMs (samples: readonly Sample[], intervalMs: number): number {
  return Math.max(0, longestGapMs(samples) - intervalMs)
}
