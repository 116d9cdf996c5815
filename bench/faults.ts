// `faults`: what becomes of a migration whose link fails, by kind of fault. The faults are those of
// test/faults, drawn by a seed.

import { linkFaults } from '../testbed/faults/link-faults.js'
import { runTrial } from '../testbed/faults/trial.js'
import type { Trial } from '../testbed/faults/verdict.js'
import {
  type CaseReport,
  type Figures,
  median,
  ours,
  printCase,
  printJson
} from './support/figures.js'
import { machine } from './support/machine.js'
import { readOptions } from './support/options.js'

/** They wait for timeouts most of the time. */
const atOnce = 8

const options = readOptions({ runs: 40, quickRuns: 4 })
const firstSeed = Math.floor(Math.random() * 2 ** 31)

async function runAll (fault: string, first: number): Promise<Trial[]> {
  const trials: Trial[] = []
  let next = 0
  const worker = async () => {
    while (next < options.runs) trials.push(await runTrial(first + next++, { [fault]: linkFaults[fault]! }))
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  return trials
}

function sum (values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function figuresOf (trials: readonly Trial[]): Figures {
  const resumed = trials.filter(({ moved, resumeMs }) => moved && resumeMs.length > 0)
  const shares = resumed.flatMap(({ resentShare }) => resentShare ?? [])
  return {
    runs: trials.length,
    moved: trials.filter(({ moved }) => moved).length,
    survived: trials.filter(({ wrong }) => wrong.length === 0).length,
    resumed: resumed.length,
    resentShare: median(shares),
    resumeMs: median(resumed.flatMap(({ resumeMs }) => resumeMs)),
    ownerUnknown: trials.filter(({ error }) => error?.owner === 'unknown').length,
    ownersWrong: sum(trials.map(({ ownersWrong }) => ownersWrong)),
    writesLost: sum(trials.map(({ writesLost }) => writesLost))
  }
}

async function measure (fault: string, first: number): Promise<CaseReport> {
  const trials = await runAll(fault, first)
  for (const { seed, wrong } of trials) {
    if (wrong.length > 0) console.error(`  seed ${seed}: ${wrong.join('; ')}`)
  }
  const equal = trials.every(({ wrong }) => wrong.length === 0)
  const each = trials.map((trial) => figuresOf([trial]))
  return { name: fault, ours: figuresOf(trials), peers: {}, equal, runs: { [ours]: each } }
}

console.log(`${options.runs} runs of each fault, seeds from ${firstSeed}`)
const reports: CaseReport[] = []
for (const fault of Object.keys(linkFaults).filter((name) => options.wants(name))) {
  const report = await measure(fault, firstSeed + reports.length * options.runs)
  printCase(report)
  reports.push(report)
}
if (options.json) printJson('faults', await machine(), reports)
