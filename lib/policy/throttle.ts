// Whether the writers must be slowed, and to what.
//
// Only when the deadline would be missed otherwise (in the bulk copy: if what is dirty now could not
// be sent in time even with the writers stopped a little later); or, in the tail, when all of this
// holds: what the writers dirty leaves less than a quarter of the link for draining; and they ask
// for as much as the link carries, or the tail would take longer than the patience there is. A
// writer clearly slower than the link drains by itself, and so does one that outruns it on few
// blocks.
//
// The limit leaves the writers a quarter of the link (or as chosen), less when the deadline asks
// for it. A milder limit would act for so much longer that it delays the writers more in all, and
// more is sent: draining Q takes Q/(b − δ*), in which all of b is used.
//
// The limit is on bytes written, its aim is unique bytes dirtied: the ratio of the two is
// measured all the time, and follows the dirty bytes as they go down.
import type { Drain } from './drain-time.js'
import { drainTime } from './drain-time.js'
import type { Writer } from './estimate.js'
import { kUsualMs } from './estimate.js'

/** Unique dirty rates above this share of the link count as not draining. */
const kCrowded = 0.75
/** The share of the link that a throttled writer may use, where nothing else was chosen. */
export const kWriterShare = 0.25
/** Never less than this share of the link, whatever the deadline asks for. */
const kLeastShare = 0.02
/** A writer that was delayed for less than this share of the time isn't held by its limit. */
const kHeld = 0.02
/** How long a limit is watched before it is called spare, ms. */
export const kWatchMs = kUsualMs
/** The limit is lifted when the writer's former demand would leave the link this much room. */
const kRoomy = 0.6
/** The end is planned for this share of the time left. */
const kTimeShare = 0.8
const kRatioMargin = 1.1
const kBlock = 4096

export interface Pressure {
  /** The dirty bytes now, at the capacity that can be relied on. */
  drain: Drain
  /** ms until the deadline; Infinity without one, and when it was missed. */
  deadlineMs: number
  /** What the tail may still take, ms. */
  patienceMs: number
}

/** Must a writer that runs free be throttled? */
export function throttleNeeded ({ drain, deadlineMs, patienceMs }: Pressure): boolean {
  const time = drainTime(drain)
  if (time > deadlineMs * kTimeShare) return true
  if (drain.dirtied <= kCrowded * drain.capacity) return false
  return drain.demand >= drain.capacity || time > patienceMs
}

/** In the bulk copy: may the writers run free no longer, if what is dirty now is to go in time? */
export function deadlinePresses ({ drain, deadlineMs }: Pressure): boolean {
  const { dirty, target, capacity } = drain
  return Math.max(0, dirty - target) * 1000 / capacity > deadlineMs * kTimeShare
}

/** What is remembered while a throttle is on. */
export interface Throttled {
  since: number
  /** What the writers wrote before, bytes/s. */
  demand: number
  /** The limit in force, bytes/s. */
  limit: number
}

/** Can the throttle be lifted? `delayShare` and `uniqueRatio` over a time in which it was on. */
export function throttleSpare (
  throttled: Throttled, delayShare: number, uniqueRatio: number, pressure: Pressure
): boolean {
  if (delayShare < kHeld) return true
  const { drain } = pressure
  const dirtied = throttled.demand * uniqueRatio
  const free = { ...drain, demand: Math.max(throttled.demand, dirtied), dirtied }
  return dirtied < kRoomy * drain.capacity && !throttleNeeded({ ...pressure, drain: free })
}

/** The unique dirty rate to allow, bytes/s: δ* = b − (Q − V*)/T, at most a share of b. */
export function allowedDirtyRate ({ drain, deadlineMs }: Pressure, share: number): number {
  const { dirty, target, capacity } = drain
  const needed = Math.max(0, dirty - target) * 1000 / (deadlineMs * kTimeShare)
  return Math.max(kLeastShare * capacity, Math.min(share * capacity, capacity - needed))
}

/** Unique bytes dirtied per byte written; above 1 when writes are smaller than a block. */
export function uniqueRatio (writer: Writer): number {
  if (writer.written === 0) return 1
  return Math.min(16, Math.max(0.02, writer.dirtied / writer.written * kRatioMargin))
}

/** The least limit that the write-latency budget allows, bytes/s: at most so long until each of
 * the writes that wait at the same time had its 4 KiB. How many wait is the delay they suffer per
 * time (Little's law). */
export function latencyFloor (writeLatencyMs: number | undefined, writer: Writer): number {
  if (writeLatencyMs === undefined) return 0
  return Math.max(1, writer.delayShare) * kBlock * 1000 / writeLatencyMs
}

/** Tokens that may be saved up, bytes: a burst must fit into the residual allowed. */
export function burstSize (bytesPerSecond: number, allowed: number): number {
  return Math.round(Math.max(kBlock, Math.min(allowed / 8, bytesPerSecond * 0.05)))
}
