// `sites`: a virtual machine with a web server moves to a site with other addresses while its
// clients use it: old connections through a tunnel, new clients by a name that changes.

import { loadavg } from 'node:os'
import { missingNeed } from '../testbed/support/needs.js'
import { missing } from '../testbed/sites/setting.js'
import { factsOfMachine } from './paper/facts.js'
import { allCases, describe } from './sites/cases.js'
import { experiment } from './sites/experiment.js'
import { type CaseReport, ours, printCase, printJson, reportCase } from './support/figures.js'
import { readOptions } from './support/options.js'
import { takeTurns } from './support/rotation.js'

const onlyInJson = ['download', 'echo', 'events', 'honest', 'lazy'].map((name) => `${name}GapMs`)

const options = readOptions({ runs: 3, quickRuns: 1 })
const need = (await missingNeed()) ?? (await missing())
if (need !== false) throw new Error(`sites ${need}`)

function load (): string {
  return loadavg()
    .map((value) => value.toFixed(1))
    .join(' ')
}

const cases = options.peersOnly ? [] : allCases(options.quick)
const chosen = cases.filter(({ name }) => options.wants(name))
for (const one of chosen) console.log(describe(one))
console.log(`${chosen.length} cases, runs: ${options.runs}; load average before: ${load()}`)
const reports: CaseReport[] = []
for (const one of chosen) {
  console.error(one.name)
  const contender = { name: ours, run: () => experiment(one) }
  const report = reportCase(one.name, await takeTurns([contender], options.runs))
  printCase(report, onlyInJson)
  reports.push(report)
}
for (const { name, equal } of reports) {
  const words = 'no connection broken, no wrong source, both disks equal'
  console.log(`${name}: ${equal === true ? 'kept' : 'MISSED'}: ${words}`)
}
console.log(`load average after: ${load()}`)
if (options.json) printJson('sites', await factsOfMachine(), reports)
