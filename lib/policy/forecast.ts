// What to tell the user: when it ends, what keeps it, which budget can't be met and what could.
import { leastDowntime } from './downtime.js'
import type { Drain } from './drain-time.js'
import { drainTime } from './drain-time.js'
import type { Assessment } from './assessment.js'
import type { Throttled } from './throttle.js'
import { allowedDirtyRate, uniqueRatio } from './throttle.js'
import type { Forecast, Infeasible, Limit } from './types.js'

/** Figures called feasible keep this distance from the edge, and some more for the checkpoints,
 * which vary most. */
const kMargin = 1.2
const kCheckpointMargin = 0.3
/** A throttled writer that uses more of the link than this does not drain in any good time. */
const kMostShare = 0.9

export interface Course {
  predictedDowntimeMs: number
  fits: boolean
  throttled: Throttled | null
  /** The least limit that the write-latency budget allows, bytes/s. */
  latencyFloor: number
  mayThrottle: boolean
  writerShare: number
}

export interface Outlook {
  forecast: Forecast
  infeasible: Infeasible | null
}

export function predict (assessment: Assessment, course: Course): Outlook {
  const eta = timeLeft(assessment, course)
  const infeasible = findInfeasible(assessment, course, eta)
  return {
    forecast: {
      eta: eta[1] === Infinity ? null : eta,
      predictedDowntimeMs: course.predictedDowntimeMs,
      limitedBy: limitedBy(assessment, course),
      relax: infeasible === null ? null : { budget: infeasible.budget, to: infeasible.feasible }
    },
    infeasible
  }
}

/** ms until the residual fits, [low, high]. Low: nobody writes from now on; in the bulk copy, what
 * is dirtied meanwhile has to be sent too. High: a writer that keeps it up, on a link at its
 * pessimistic rate, throttled where the policy would. */
function timeLeft (assessment: Assessment, course: Course): [number, number] {
  const { pressure, link, sample, inTail, aheadMs } = assessment
  const { drain } = pressure
  if (course.fits) return [aheadMs, aheadMs]
  if (link.pessimistic === 0) return [0, Infinity]
  const line = sample.inFlight * 1000 / link.mean + aheadMs
  const least = timeUnwritten(assessment)
  const again = inTail ? 0 : Math.min(1, drain.dirtied / drain.capacity)
  const low = least + (least - line) * again
  const slow = { ...drain, capacity: drain.capacity * link.pessimistic / link.mean }
  const bulk = inTail ? 0 : drain.dirty * 1000 / slow.capacity
  const tail = inTail ? slow : tailAfterBulk(slow, sample.size)
  const free = drainTime(tail)
  const throttled = Math.max(0, tail.dirty - tail.target) * 1000 /
    (slow.capacity * (1 - course.writerShare))
  const limited = course.throttled !== null || drain.demand >= drain.capacity ||
    free > pressure.patienceMs
  const high = line + bulk + (course.mayThrottle && limited ? Math.min(free, throttled) : free)
  return [low, Math.max(high, low)]
}

/** ms until the residual fits if nobody wrote from now on. */
function timeUnwritten ({ pressure: { drain }, sample, link, aheadMs }: Assessment): number {
  const once = Math.max(0, drain.dirty - drain.target) * 1000 / drain.capacity
  return once + sample.inFlight * 1000 / link.mean + aheadMs
}

/** What a writer all over the disk would leave when the bulk copy is through. */
function tailAfterBulk (drain: Drain, size: number): Drain {
  const { demand, capacity } = drain
  const dirty = Math.min(size, demand * drain.dirty / capacity)
  return { ...drain, dirty, dirtied: demand * (1 - dirty / size) }
}

function limitedBy ({ pressure: { drain }, inTail, sample }: Assessment, course: Course): Limit {
  if (course.fits) return 'none'
  if (course.throttled !== null) return 'writer'
  if (inTail && drain.dirtied > course.writerShare * drain.capacity) return 'writer'
  return destinationDominates(sample.checkpointMs, course) && inTail ? 'destination' : 'link'
}

function destinationDominates (checkpointMs: number | null, course: Course): boolean {
  return checkpointMs !== null && checkpointMs > course.predictedDowntimeMs / 2
}

function findInfeasible (
  assessment: Assessment, course: Course, eta: readonly [number, number]
): Infeasible | null {
  return infeasibleDowntime(assessment) ?? infeasibleDeadline(assessment, course, eta) ??
    infeasibleLatency(assessment, course)
}

/** Checkpoints of the bulk copy flush much more than the one in the pause will: only in the tail
 * do they count against the budget. */
function infeasibleDowntime (assessment: Assessment): Infeasible | null {
  const { budgets, usualPauseMs, pauseCostMs, checkpointMs, link, ratio, inTail } = assessment
  if (checkpointMs === null || !link.settled || link.pessimistic === 0) return null
  const paused = inTail ? usualPauseMs : pauseCostMs - checkpointMs
  if (leastDowntime(paused, link, ratio) <= budgets.downtimeMs) return null
  const least = leastDowntime(pauseCostMs, link, ratio)
  return {
    budget: 'downtime',
    asked: budgets.downtimeMs,
    feasible: Math.ceil(least * kMargin + checkpointMs * kCheckpointMargin)
  }
}

/** The throttle can hold the writers for it in the bulk copy, too. */
function infeasibleDeadline (
  assessment: Assessment, { mayThrottle }: Course, [low, high]: readonly [number, number]
): Infeasible | null {
  const { budgets, elapsedMs, link } = assessment
  if (budgets.deadlineMs === undefined || !link.settled || high === Infinity) return null
  const least = mayThrottle ? timeUnwritten(assessment) : low
  if (elapsedMs + least <= budgets.deadlineMs) return null
  return {
    budget: 'deadline',
    asked: budgets.deadlineMs,
    feasible: Math.ceil((elapsedMs + high) * kMargin)
  }
}

/** The throttle that would be needed delays writes by more than allowed. */
function infeasibleLatency (
  { budgets, pressure, recent }: Assessment, { throttled, latencyFloor, writerShare }: Course
): Infeasible | null {
  const asked = budgets.writeLatencyMs
  if (asked === undefined || throttled === null) return null
  const ratio = uniqueRatio(recent)
  if (latencyFloor * ratio <= pressure.drain.capacity * kMostShare) return null
  // Near the end no write finds its block dirty still: what is written is unique then.
  const limit = allowedDirtyRate(pressure, writerShare) / Math.max(1, ratio)
  return {
    budget: 'writeLatency', asked, feasible: Math.ceil(asked * latencyFloor / limit * kMargin)
  }
}
