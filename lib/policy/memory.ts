// Memory beside the disks on one link, in one downtime budget: when the machine may pause itself,
// and how much of its memory may wait in the sockets.
import type { Link } from './types.js'

/** Time on the link that may wait in the sockets beyond what the cable holds, ms: it is a queue in
 * front of the last of the memory, and of the disks' residual. */
const kQueueMs = 20
const kLeastQueue = 16_384
/** What is kept of the time that is left over for memory: its rate varies. */
const kHeadroom = 0.8
/** Less than this makes no machine pause that dirties memory at all, ms. */
const kLeastPauseMs = 5
/** Memory that is dirtied faster than this share of the link does not converge by itself. */
const kCrowded = 0.5
/** zstd with matches from far back takes in about 300 MB/s of memory a core, and memory shrinks to
 * less than half; wire bytes/s. */
const kCompressBelow = 100e6

export interface MemoryAssessment {
  /** null while nothing is known about the link. */
  link: Link | null
  roundTripMs: number
  /** Taken from the hypervisor, and framed for the wire, ever, bytes. */
  content: number
  wire: number
  /** Bytes a second that the machine dirties; 0 while that is not known. */
  dirtyRate: number
  /** The downtime budget, ms. */
  downtimeMs: number
  /** What a pause now would cost without any memory, ms; null while that is not known. */
  predictedDowntimeMs: number | null
  /** The disks fit, and a switchover is wanted. */
  disksReady: boolean
}

export interface MemoryPlan {
  /** How long the machine may be paused for the rest of its memory, ms; 0: it may not pause. */
  allowedMs: number
  /** Memory bytes a second in the pause, before compression. */
  bytesPerSecond: number
  /** Wire bytes that may wait in the sockets; 0: no limit. */
  maxInFlight: number
  /** The link is so slow that compressing pays. */
  compress: boolean
  /** The machine dirties its memory too fast for the link: it has to be slowed down. */
  help: boolean
}

/** What is left of the downtime budget goes to the memory, once the disks fit. */
export function planMemory (situation: MemoryAssessment): MemoryPlan {
  const { link, roundTripMs, content, wire, downtimeMs, predictedDowntimeMs } = situation
  if (link === null || link.pessimistic === 0) {
    return { allowedMs: 0, bytesPerSecond: 0, maxInFlight: 0, compress: false, help: false }
  }
  // Before anything is known, memory counts as incompressible.
  const ratio = content > 0 && wire > 0 ? wire / content : 1
  const help = situation.disksReady && situation.dirtyRate * ratio > kCrowded * link.mean
  const left = predictedDowntimeMs === null ? 0 : (downtimeMs - predictedDowntimeMs) * kHeadroom
  return {
    allowedMs: situation.disksReady ? Math.max(kLeastPauseMs, left) : 0,
    bytesPerSecond: link.pessimistic / ratio,
    maxInFlight: link.peak * roundTripMs / 1000 * 1.25 +
      Math.max(kLeastQueue, link.peak * kQueueMs / 1000),
    compress: link.mean < kCompressBelow,
    help
  }
}
