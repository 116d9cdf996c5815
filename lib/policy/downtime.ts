// What a pause would cost now, and how much residual the downtime budget leaves room for.
//
//   downtime = t0 + c · residual / B      t0: what a pause costs without any residual
//   V* = B · (D − t0) / c                 the residual that the budget D allows
import type { Link } from './types.js'
import type { WireRatio } from './estimate.js'
import { quantile } from './estimate.js'
import type { Sample } from './types.js'

const kDefaultPauseMs = 10
const kDefaultCheckpointMs = 20
/** Requests and acknowledgements of the handover, in round trips. */
const kRoundTrips = 1.5
const kCheckpoints = 8
const kCheckpointQuantile = 0.75
/** What estimates may be wrong by: this share of the time for the residual is planned for. */
export const kHeadroom = 0.9
/** Less than this is not to be had with a writer running: a few blocks are always on their way. */
export const kLeastResidual = 32_768

/** Recently measured checkpoints, oldest first, ms. */
export type Checkpoints = readonly number[]

/** A checkpoint counts once: the sample repeats it until there is a newer one. */
export function observeCheckpoint (checkpoints: Checkpoints, sample: Sample): Checkpoints {
  const { checkpointMs } = sample
  if (checkpointMs === null || checkpointMs === checkpoints.at(-1)) return checkpoints
  return [...checkpoints.slice(1 - kCheckpoints), checkpointMs]
}

/** t0, ms: pause, handover, flush and verification, the machine's memory. */
export function pauseCost (sample: Sample, checkpointMs: number | null): number {
  return (sample.pauseMs ?? kDefaultPauseMs) + kRoundTrips * sample.roundTripMs +
    (checkpointMs ?? kDefaultCheckpointMs) + (sample.machineMs ?? 0)
}

/** Flush and verification to rely on, ms: a high quantile or the last, whichever is worse; null
 * before the first. */
export function checkpointCost (checkpoints: Checkpoints): number | null {
  const usual = quantile(checkpoints, kCheckpointQuantile)
  return usual === null ? null : Math.max(usual, checkpoints.at(-1)!)
}

/** Flush and verification as they usually are, ms: one slow checkpoint calls nothing infeasible. */
export function usualCheckpoint (checkpoints: Checkpoints): number | null {
  return quantile(checkpoints, 0.5)
}

/** V*, content bytes; 0 when the pause alone takes longer than the budget. */
export function allowedResidual (
  downtimeMs: number, pauseCostMs: number, link: Link, ratio: WireRatio
): number {
  const ms = Math.max(0, downtimeMs - pauseCostMs) * kHeadroom
  return link.pessimistic * ms / 1000 / ratio.pessimistic
}

/** Wire bytes that would have to be sent in a pause that began now. What is on the cable already
 * arrives within the round trips of the handover; `rate` (bytes/s) is what lately went there. */
export function residualWire (
  sample: Sample, rate: number, link: Link, ratio: WireRatio
): number {
  const onCable = Math.min(rate, link.pessimistic) * sample.roundTripMs / 1000
  const waiting = sample.inFlight + (sample.memoryInFlight ?? 0)
  return sample.unsent * ratio.pessimistic + Math.max(0, waiting - onCable)
}

/** Of a switchover that has to send `residual` wire bytes, ms; Infinity over a dead link with
 * something left to send. */
export function predictDowntime (
  residual: number, pauseCostMs: number, link: Link
): number {
  return pauseCostMs + (residual === 0 ? 0 : residual * 1000 / link.pessimistic / kHeadroom)
}

/** The shortest downtime that can be promised, ms. */
export function leastDowntime (pauseCostMs: number, link: Link, ratio: WireRatio): number {
  return pauseCostMs + kLeastResidual * ratio.pessimistic * 1000 / link.pessimistic / kHeadroom
}
