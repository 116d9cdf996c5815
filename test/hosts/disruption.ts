// What a client's samples say about how long it went without service.

import type { Sample } from './clients/timeline.js'

/**
 * The longest time between the ends of two successful requests that followed each other, in
 * milliseconds; 0 when there were fewer than two. A failed request doesn't end it.
 */
export function longestGapMs(samples: readonly Sample[]): number {
  const ends = samples.filter(({ ok }) => ok).map(({ endMs }) => endMs)
  ends.sort((a, b) => a - b)
  return ends.reduce((longest, end, i) => Math.max(longest, end - (ends[i - 1] ?? end)), 0)
}

/** The longest gap without the time between requests that there is anyway; at least 0. */
export function disruptionMs(samples: readonly Sample[], intervalMs: number): number {
  return Math.max(0, longestGapMs(samples) - intervalMs)
}
