// The throttle of Bradford et al. (VEE 2007): a round may have so many writes; each one after
// that is delayed by a fixed time, and by more at each further threshold.
//
// Simple, needs no knowledge of the link while it runs, and slows small writes as much as large
// ones. Offered beside the token bucket.
import type { ThrottleStep } from './types.js'

export interface StepPlan {
  /** Writes of a round that pass undelayed. */
  freeWrites: number
  /** Writes between one step and the next, at least 1. */
  writesPerStep: number
  /** Delay of the first step, µs; each further step doubles it. */
  firstDelayUs: number
  /** No step delays by more, µs. */
  mostDelayUs: number
  /** At least 1. */
  steps: number
}

/** The steps of a plan, in ascending order, without those that would change nothing. */
export function paperSteps (plan: StepPlan): ThrottleStep[] {
  const steps: ThrottleStep[] = []
  for (let index = 0; index < plan.steps; index++) {
    const delayUs = Math.min(plan.mostDelayUs, plan.firstDelayUs * 2 ** index)
    if (delayUs === steps.at(-1)?.delayUs) break
    steps.push({
      afterWrites: Math.round(plan.freeWrites + index * plan.writesPerStep),
      delayUs: Math.round(delayUs)
    })
  }
  return steps
}

/** A plan that meets a limit in bytes/s. `roundMs`: how long a round takes; `writeSize` in bytes;
 * `mostDelayMs`: the write-latency budget, Infinity without one. */
export function planSteps (
  bytesPerSecond: number, writeSize: number, roundMs: number, mostDelayMs: number
): StepPlan {
  const interval = writeSize * 1e6 / bytesPerSecond
  const writes = Math.max(1, roundMs * 1000 / interval)
  return {
    freeWrites: writes / 4,
    writesPerStep: Math.max(1, writes / 4),
    firstDelayUs: interval,
    mostDelayUs: Math.min(mostDelayMs * 1000, interval * 8, 4e9),
    steps: 4
  }
}
