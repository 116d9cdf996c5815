// The convergence policy: samples in, decisions out, no clock and no state of its own.
//
//   let state = initialState(budgets)
//   every ~100 ms: ({ state, decision } = decide(state, sample))
//
// The way of a sample: estimate (what link and writer do) → downtime (what a pause costs, what
// residual fits) → forecast (how long until then) → throttle, pacing, infeasible → decision.
import type { Checkpoints } from './downtime.js'
import {
  checkpointCost, leastDowntime, observeCheckpoint, pauseCost, predictDowntime, residualWire
} from './downtime.js'
import type { History } from './estimate.js'
import { emptyHistory, estimateLink, estimateWriter, lastRate, observe } from './estimate.js'
import { predict } from './forecast.js'
import { deferTime, kUnknownInFlight, largestExtent, mostInFlight } from './pacing.js'
import { paperSteps, planSteps } from './paper-steps.js'
import type { Assessment } from './assessment.js'
import { assess } from './assessment.js'
import type { Throttled } from './throttle.js'
import {
  allowedDirtyRate, burstSize, deadlinePresses, kWatchMs, kWriterShare, latencyFloor, throttleNeeded, throttleSpare,
  uniqueRatio
} from './throttle.js'
import type { Budgets, Decision, PolicyOptions, Sample, Throttle } from './types.js'

/** So little fits over any link. */
const kTiny = 65_536

export interface State {
  readonly budgets: Budgets
  readonly options: PolicyOptions
  readonly history: History
  readonly checkpoints: Checkpoints
  /** Times of the first sample and of the first one after the bulk copy. */
  readonly startedAt: number | null
  readonly tailAt: number | null
  /** Wire bytes that the bulk copy has handed over; Infinity while it runs. */
  readonly bulkWire: number
  readonly throttled: Throttled | null
}

export function initialState (budgets: Budgets, options: PolicyOptions = {}): State {
  return {
    budgets,
    options,
    history: emptyHistory,
    checkpoints: [],
    startedAt: null,
    tailAt: null,
    bulkWire: Infinity,
    throttled: null
  }
}

/** The state with other budgets, from now on. */
export function withBudgets (state: State, budgets: Budgets): State {
  return { ...state, budgets }
}

/** Nothing can slow the writers any more. */
export function withoutThrottle (state: State): State {
  return { ...state, options: { ...state.options, throttle: 'none' }, throttled: null }
}

export function decide (before: State, sample: Sample): { state: State, decision: Decision } {
  const state = remember(before, sample)
  const link = estimateLink(state.history, state.budgets.bandwidth)
  if (link === null) {
    return { state: { ...state, throttled: null }, decision: blindDecision(state, sample) }
  }
  const startedAt = state.startedAt ?? sample.now
  const assessment = assess({ ...state, startedAt }, sample, link)
  const residual = residualWire(sample, lastRate(state.history), link, assessment.ratio)
  const predictedDowntimeMs = predictDowntime(residual, assessment.pauseCostMs, link)
  const fits = predictedDowntimeMs <= state.budgets.downtimeMs
  const { throttled, floor } = limitWriter(state, assessment, fits)
  const { forecast, infeasible } = predict(assessment, {
    predictedDowntimeMs,
    fits,
    throttled,
    latencyFloor: floor,
    mayThrottle: mayThrottle(state, assessment),
    writerShare: state.options.writerShare ?? kWriterShare
  })
  return {
    state: { ...state, throttled },
    decision: {
      throttle: throttled === null ? null : express(throttled, state, assessment),
      deferMs: deferTime(
        sample.unsent, assessment.allowed, assessment.recent.written, sample.size, throttled !== null),
      maxExtent: largestExtent(link.pessimistic),
      maxInFlight: mostInFlight(
        sample.unsent * assessment.ratio.mean, assessment.allowed * assessment.ratio.mean, link,
        sample.roundTripMs),
      fits,
      link,
      forecast,
      infeasible
    }
  }
}

function remember (state: State, sample: Sample): State {
  // The bulk copy is over when what was claimed in it is there, not when it stands in line.
  const claimed = sample.round > 0 ? sample.wire + sample.inFlight : Infinity
  const bulkWire = Math.min(state.bulkWire, claimed)
  return {
    ...state,
    history: observe(state.history, sample),
    checkpoints: observeCheckpoint(state.checkpoints, sample),
    startedAt: state.startedAt ?? sample.now,
    bulkWire,
    tailAt: state.tailAt ?? (sample.wire >= bulkWire ? sample.now : null)
  }
}

/** Nothing is known about the link yet: go on, and switch over only if next to nothing is left. */
function blindDecision (state: State, sample: Sample): Decision {
  const cost = pauseCost(sample, checkpointCost(state.checkpoints))
  const fits = sample.unsent + sample.inFlight <= kTiny && cost <= state.budgets.downtimeMs
  return {
    throttle: null,
    deferMs: 0,
    maxExtent: largestExtent(0),
    maxInFlight: kUnknownInFlight,
    fits,
    link: null,
    forecast: { eta: null, predictedDowntimeMs: null, limitedBy: 'link', relax: null },
    infeasible: null
  }
}

/** Throttling serves no purpose when no switchover is wanted, or when even a pause without any
 * residual would take too long. */
function mayThrottle (
  state: State, { sample, usualPauseMs, link, ratio, budgets }: Assessment
): boolean {
  return state.options.throttle !== 'none' && sample.wanted !== false &&
    leastDowntime(usualPauseMs, link, ratio) <= budgets.downtimeMs
}

/** The limit to put on the writers, and the least that their latency budget allows. */
function limitWriter (
  state: State, assessment: Assessment, fits: boolean
): { throttled: Throttled | null, floor: number } {
  const { recent, pressure, budgets, sample, link, inTail } = assessment
  const before = state.throttled
  const ratio = uniqueRatio(recent)
  const share = state.options.writerShare ?? kWriterShare
  const floor = latencyFloor(budgets.writeLatencyMs, recent)
  const none = { throttled: null, floor }
  const mayBegin = inTail || before !== null || deadlinePresses(pressure)
  if (!mayBegin || !mayThrottle(state, assessment)) return none
  if (before === null) {
    if (fits || !link.settled || !throttleNeeded(pressure)) return none
  } else if (sample.now - before.since > kWatchMs) {
    const { delayShare } = estimateWriter(state.history, kWatchMs)
    if (throttleSpare(before, delayShare, ratio, pressure)) return none
  }
  const limit = Math.max(floor, allowedDirtyRate(pressure, share) / ratio)
  const start = before ?? { since: sample.now, demand: recent.written }
  return { throttled: { ...start, limit }, floor }
}

/** The limit in the form that the scheme chosen uses. */
function express (
  { limit }: Throttled, { options, budgets }: State, { allowed, recent, pressure }: Assessment
): Throttle {
  if (options.throttle !== 'steps') {
    return { bytesPerSecond: limit, burstBytes: burstSize(limit, allowed), steps: [] }
  }
  const roundMs = pressure.drain.dirty * 1000 / pressure.drain.capacity
  const plan = planSteps(limit, recent.writeSize, roundMs, budgets.writeLatencyMs ?? Infinity)
  return { bytesPerSecond: 0, burstBytes: 0, steps: paperSteps(plan) }
}
