// Many trials, with a word about each kind of fault.
import type { Test } from 'tap'

import type { Trial } from '../../testbed/faults/verdict.js'

export const kFirstSeed = Number(process.env['BLOCKFERRY_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
/** How many the user wants; NaN: the usual number. */
const kRuns = Number(process.env['BLOCKFERRY_FAULTS'])

export interface TrialsOptions {
  runs: number
  /** They wait most of the time. */
  atOnce: number
}

/** Each has to keep every promise. */
export async function runTrials (
  t: Test, run: (seed: number) => Promise<Trial>, options: TrialsOptions
): Promise<void> {
  const runs = kRuns || options.runs
  t.comment(`seeds ${kFirstSeed} to ${kFirstSeed + runs - 1}`)
  const trials: Trial[] = []
  let next = 0
  const worker = async () => {
    while (next < runs) {
      const trial = await run(kFirstSeed + next++)
      trials.push(trial)
      t.same(trial.wrong, [], `seed ${trial.seed}: ${trial.fault}: ${outcomeOf(trial)}`)
    }
  }
  await Promise.all(Array.from({ length: Math.min(options.atOnce, runs) }, worker))
  for (const fault of [...new Set(trials.map(({ fault }) => fault))].sort()) {
    const of = trials.filter((trial) => trial.fault === fault)
    const moved = of.filter(({ moved }) => moved).length
    const unknown = of.filter(({ error }) => error?.owner === 'unknown').length
    t.comment(`${fault}: ${of.length} runs, ${moved} moved, ${unknown} with an unknown owner`)
  }
}

function outcomeOf ({ moved, error }: Trial): string {
  if (moved) return 'moved'
  return `${error!.code}, owner ${error!.owner}: ${error!.message}`
}
