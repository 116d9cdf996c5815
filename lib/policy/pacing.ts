// How the sender should go about it: what to leave for later, how much to take at once, how much
// to have on the way.

import type { Link } from './types.js'

const kKiB = 1024
const kMinExtent = 64 * kKiB
const kMaxExtent = 1024 * kKiB
/** An extent takes at most this long to send, where its size allows. */
const kExtentMs = 20
/** Of what is unsent, the share that may be left for later. */
const kDeferredShare = 0.25
const kMinDeferMs = 10
const kMaxDeferMs = 600_000
/** While the writers are throttled a link that waits costs more than blocks that are sent twice, of
 * which there are few then. */
const kThrottledDeferMs = 500
/** Making every block old costs a walk over the map: at most a twentieth of the time. */
const kAgeMsPerTiB = 10
const kAgeTimes = 20
const kTiB = 2 ** 40
/** The end is near when what is unsent is less than so many times what is allowed, and what is
 * sent in so many seconds. */
const kFarFromEnd = 4
const kFarSeconds = 1
const kFarQueueSeconds = 0.5
/** The most to have in flight while nothing is known about the link, bytes. */
export const kUnknownInFlight = 1 << 20

/** How long a block must have been quiet to be claimed, ms. Blocks written often are sent last:
 * in the bulk copy that costs nothing, and near the end the blocks left out stay well under the
 * residual allowed. 0 when there is no room for that. `written` in bytes/s. */
export function deferTime (
  unsent: number, allowed: number, written: number, size: number, throttled: boolean
): number {
  const room = kDeferredShare * Math.max(unsent, allowed)
  const ms = written > 0 ? room * 1000 / written : kMaxDeferMs
  const least = Math.max(kMinDeferMs, kAgeTimes * kAgeMsPerTiB * size / kTiB)
  const most = throttled ? kThrottledDeferMs : kMaxDeferMs
  return ms < least ? 0 : Math.round(Math.max(least, Math.min(most, ms)))
}

/** The largest extent to claim at this goodput (bytes/s), bytes. */
export function largestExtent (goodput: number): number {
  const wanted = goodput * kExtentMs / 1000
  const steps = Math.floor(wanted / kMinExtent)
  return Math.min(kMaxExtent, Math.max(1, steps) * kMinExtent)
}

/** The most to have claimed and unacknowledged, wire bytes: enough to keep the link busy, and near
 * the end not so much that the pause would have to wait for it. Before that, enough for a link
 * that can do more than was seen so far to show it. `unsent` and `allowed` in wire bytes. */
export function mostInFlight (
  unsent: number, allowed: number, link: Link, roundTripMs: number
): number {
  const far = unsent > kFarFromEnd * allowed + link.mean * kFarSeconds
  if (far) {
    return Math.max(kUnknownInFlight, link.peak * (2 * roundTripMs / 1000 + kFarQueueSeconds))
  }
  return link.mean * roundTripMs / 1000 * 1.25 + Math.max(kMinExtent, allowed / 4)
}
