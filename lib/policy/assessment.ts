// What the samples so far amount to: everything that a decision is made from.
import type { Checkpoints } from './downtime.js'
import { allowedResidual, checkpointCost, pauseCost, usualCheckpoint } from './downtime.js'
import type { History, WireRatio, Writer } from './estimate.js'
import type { Link } from './types.js'
import { estimateWireRatio, estimateWriter, kRecentMs, kUsualMs, kWindowMs } from './estimate.js'
import type { Pressure } from './throttle.js'
import type { Budgets, PolicyOptions, Sample } from './types.js'

/** See PolicyOptions. */
const kPatience = 4

export interface Assessment {
  sample: Sample
  budgets: Budgets
  link: Link
  ratio: WireRatio
  /** The last seconds, and a longer time that evens out bursts. */
  recent: Writer
  usual: Writer
  /** t0, to rely on, and with the checkpoint that is usual. */
  pauseCostMs: number
  usualPauseMs: number
  /** The flush and verification to rely on; null before the first was measured. */
  checkpointMs: number | null
  /** V*, content bytes. */
  allowed: number
  pressure: Pressure
  inTail: boolean
  elapsedMs: number
  /** What the machine's memory takes on the link by itself, ms. */
  aheadMs: number
}

export interface Memory {
  budgets: Budgets
  options: PolicyOptions
  history: History
  checkpoints: Checkpoints
  startedAt: number
  tailAt: number | null
}

/** `startedAt` and `tailAt` are the times of the first sample, and of the first one after the bulk
 * copy (null before it). */
export function assess (
  { budgets, options, history, checkpoints, startedAt, tailAt }: Memory, sample: Sample, link: Link
): Assessment {
  const ratio = estimateWireRatio(history, sample)
  const checkpointMs = checkpointCost(checkpoints)
  const pauseCostMs = pauseCost(sample, checkpointMs)
  const capacity = link.mean / ratio.mean
  const wholeDiskMs = sample.size * 1000 / capacity
  const recent = estimateWriter(history, kRecentMs)
  const usual = estimateWriter(history, Math.min(kWindowMs, Math.max(kUsualMs, wholeDiskMs)))
  // A burst is over soon, and a busy past is over already: the lesser of the two counts. Writes
  // smaller than a block can dirty more than they write.
  const demand = Math.min(recent.written, usual.written) *
    Math.max(1, recent.dirtied / Math.max(1, recent.written))
  const dirtied = Math.min(recent.dirtied, demand)
  const allowed = allowedResidual(budgets.downtimeMs, pauseCostMs, link, ratio)
  const elapsedMs = sample.now - startedAt
  const tailMs = tailAt === null ? 0 : sample.now - tailAt
  const aheadMs = link.mean > 0 ? (sample.memoryAhead ?? 0) * 1000 / link.mean : 0
  const deadlineMs = (budgets.deadlineMs ?? Infinity) - elapsedMs - aheadMs
  return {
    sample,
    budgets,
    link,
    ratio,
    recent,
    usual,
    pauseCostMs,
    usualPauseMs: pauseCost(sample, usualCheckpoint(checkpoints)),
    checkpointMs,
    allowed,
    pressure: {
      drain: {
        dirty: sample.unsent, target: allowed, capacity, demand, dirtied
      },
      deadlineMs: deadlineMs > 0 ? deadlineMs : Infinity,
      patienceMs: (options.patience ?? kPatience) * wholeDiskMs - tailMs
    },
    inTail: tailAt !== null,
    elapsedMs,
    aheadMs
  }
}
