// Samples made by hand: a steady migration whose every figure a test may change.
import type { Sample } from '../../lib/policy/types.js'

/** Nothing done yet, on a disk of 1 GB. */
export const zero: Sample = {
  now: 0,
  size: 1e9,
  unsent: 1e9,
  inFlight: 0,
  content: 0,
  wire: 0,
  dirtied: 0,
  written: 0,
  writes: 0,
  roundTripMs: 10,
  checkpointMs: null,
  round: 0,
  idle: false,
  throttleDelayMs: 0,
  pauseMs: 5
}

/** What changes per second, and what is from the beginning. */
export interface Course {
  link?: number
  content?: number
  dirtied?: number
  written?: number
  idle?: boolean
  delayMs?: number
}

/** `count` samples, `stepMs` apart, that go on from `from` (which is not repeated). The unsent
 * bytes follow from what is dirtied and claimed. */
export function samples (from: Sample, count: number, course: Course, stepMs = 100): Sample[] {
  const { link = 0, dirtied = 0, idle = false, delayMs = 0 } = course
  const { content = link, written = dirtied } = course
  return Array.from({ length: count }, (_, index) => {
    const seconds = (index + 1) * stepMs / 1000
    return {
      ...from,
      now: from.now + seconds * 1000,
      wire: from.wire + link * seconds,
      content: from.content + content * seconds,
      dirtied: from.dirtied + dirtied * seconds,
      written: from.written + written * seconds,
      writes: from.writes + Math.round(written * seconds / 4096),
      unsent: Math.max(0, from.unsent + (dirtied - content) * seconds),
      throttleDelayMs: from.throttleDelayMs + delayMs * seconds,
      idle
    }
  })
}
