// Many trials, with a word about each kind of fault.
import type { Test } from 'tap'

import type { TlsOptions } from '../../lib/index.js'
import type { Faults, Trial } from './trial.js'
import { runTrial } from './trial.js'

export const kFirstSeed = Number(process.env['BLOCKFERRY_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
/** How many the user wants; NaN: the usual number. */
const kRuns = Number(process.env['BLOCKFERRY_FAULTS'])

export interface TrialsOptions {
  runs: number
  /** They wait most of the time. */
  atOnce: number
  key?: TlsOptions | false
}

/** Each has to keep every promise. */
export async function runTrials (t: Test, faults: Faults, options: TrialsOptions): Promise<void> {
  const { atOnce, key = false } = options
  const runs = kRuns || options.runs
  t.comment(`seeds ${kFirstSeed} to ${kFirstSeed + runs - 1}`)
  const trials: Trial[] = []
  let next = 0
  const worker = async () => {
    while (next < runs) {
      const trial = await runTrial(kFirstSeed + next++, faults, key)
      trials.push(trial)
      const { seed, fault, error, wrong } = trial
      const outcome = error === null ? 'moved' : `${error.code}, owner ${error.owner}: ${error.message}`
      t.same(wrong, [], `seed ${seed}: ${fault}: ${outcome}`)
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, runs) }, worker))
  for (const fault of Object.keys(faults)) {
    const of = trials.filter((trial) => trial.fault === fault)
    const moved = of.filter(({ moved }) => moved).length
    const unknown = of.filter(({ error }) => error?.owner === 'unknown').length
    t.comment(`${fault}: ${of.length} runs, ${moved} moved, ${unknown} with an unknown owner`)
  }
}
