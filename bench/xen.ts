// `xen`: a domU with its disk moves between two hosts of Xen, by blockferry and by a plain stop-and-copy;
// and how soon a limit holds its writers.

import { missingNeed } from '../testbed/support/needs.js'
import { factsOfMachine } from './paper/facts.js'
import { type CaseReport, ours as oursName, printCase, printJson, reportCase } from './support/figures.js'
import { readOptions } from './support/options.js'
import { takeTurns } from './support/rotation.js'
import { allCases, type Case, describe } from './xen/cases.js'
import { experiment, type Move } from './xen/experiment.js'
import { ours, stopAndCopy } from './xen/movers.js'
import { measureThrottle, throttle } from './xen/throttle.js'

const options = readOptions({ runs: 1, quickRuns: 1 })
const need = await missingNeed()
if (need !== undefined) throw new Error(`xen ${need}`)
const movers: Record<string, Move> = {
  ...(options.peersOnly ? {} : { [oursName]: ours('dm'), [`${oursName}-bpf`]: ours('bpf') }),
  'stop-and-copy': stopAndCopy
}

async function measure (one: Case): Promise<CaseReport> {
  const contenders = Object.entries(movers).map(([name, move]) => ({ name, run: () => experiment(one, move) }))
  return reportCase(one.name, await takeTurns(contenders, options.runs))
}

const chosen = allCases(options.quick).filter(({ name }) => options.wants(name))
for (const one of chosen) console.log(describe(one))
const reports: CaseReport[] = []
for (const one of chosen) {
  console.error(one.name)
  const report = await measure(one)
  printCase(report, ['answers', 'rounds'])
  reports.push(report)
}
const moves = [...reports]
if (options.wants(throttle) && !options.peersOnly) {
  console.error(throttle)
  const report = await measureThrottle(options.runs)
  printCase(report)
  reports.push(report)
}
for (const { name, equal } of moves) {
  console.log(`${name}: ${equal === true ? 'kept' : 'MISSED'}: no acknowledged write is lost`)
}
if (options.json) printJson('xen', await factsOfMachine(), reports)
