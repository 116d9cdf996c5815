// `paper`: a virtual machine with a web server moves while its clients use it, as in Bradford et
// al. (VEE 2007), with blockferry and with QEMU's own storage migration.

import { loadavg } from 'node:os'
import { moveMemory, moveWithMirror } from './peers/qemu-migration.js'
import { allCases, type Case } from './paper/cases.js'
import { experiment, type Recording } from './paper/experiment.js'
import { prepareOurs } from './paper/ours.js'
import { preparePlain } from './paper/plain-site.js'
import { describe, factsOfMachine } from './paper/facts.js'
import { writePlot } from './paper/plot.js'
import type { Prepare } from './paper/site.js'
import { printVerdict } from './paper/verdict.js'
import { type CaseReport, ours, printCase, printJson, reportCase } from './support/figures.js'
import { memoryFolder } from '../testbed/support/folders.js'
import { readOptions } from './support/options.js'
import { takeTurns } from './support/rotation.js'
import { missingNeed } from '../testbed/support/needs.js'

const options = readOptions({ runs: 3, quickRuns: 1 }, ['limit', 'plots'])
const { limit, plots } = options.own
const limitSeconds = limit === undefined ? undefined : Number(limit)
if (Number.isNaN(limitSeconds)) throw new Error('--limit takes seconds')
const need = await missingNeed()
if (need !== undefined) throw new Error(`paper ${need}`)
const folder = memoryFolder()
const onlyInJson = [
  ...['reportedDowntimeMs', 'reportedEqual', 'differingBlocks', 'writtenBytes'],
  ...['rounds', 'attempts'],
  ...['pause', 'drain', 'residual', 'commit'].map((name) => `downtime-${name}Ms`)
]

const writeBlocking = preparePlain(moveWithMirror({ 'copy-mode': 'write-blocking' }))

function contenders (one: Case): Record<string, Prepare> {
  if (one.isFloor) return { floor: preparePlain(moveMemory, { isShared: true }) }
  return {
    ...(options.peersOnly ? {} : { [ours]: prepareOurs }),
    qemu: preparePlain(moveWithMirror()),
    ...(writes(one) && !options.quick ? { 'qemu-write-blocking': writeBlocking } : {})
  }
}

function writes ({ workload }: Case): boolean {
  return workload === 'dynamic' || workload === 'diabolical'
}

async function measure (one: Case): Promise<CaseReport> {
  const recordings = new Map<string, Recording>()
  const turns = Object.entries(contenders(one)).map(([name, prepare]) => {
    const run = async () => {
      const { figures, recording } = await experiment(one, prepare, folder)
      if (recording !== null) recordings.set(name, recording)
      return figures
    }
    return { name, run }
  })
  const report = reportCase(one.name, await takeTurns(turns, options.runs))
  if (plots !== undefined && recordings.size > 0) writePlot(plots, one.name, recordings)
  return report
}

function load (): string {
  return loadavg()
    .map((value) => value.toFixed(1))
    .join(' ')
}

const cases = allCases(options.quick, limitSeconds)
const chosen = cases.filter(({ name }) => options.wants(name))
for (const text of new Set(chosen.map(({ setting }) => describe(setting)))) console.log(text)
console.log(`${chosen.length} cases, runs: ${options.runs}; load average before: ${load()}`)
const reports: CaseReport[] = []
for (const one of chosen) {
  console.error(one.name)
  const report = await measure(one)
  printCase(report, onlyInJson)
  reports.push(report)
}
printVerdict(reports)
console.log(`\nload average after: ${load()}`)
if (options.json) printJson('paper', await factsOfMachine(), reports)
