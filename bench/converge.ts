// `converge`: a disk that is written all the time, over a link of 50 Mbit/s, within a budget.

import { join } from 'node:path'
import { mirrorLive } from './peers/live-mirror.js'
import { moveLive } from './support/blockferry.js'
import { run } from '../testbed/support/command.js'
import { type Workload, moveOnce } from './support/converging.js'
import { type CaseReport, ours, printCase, printJson, reportCase } from './support/figures.js'
import { memoryFolder } from '../testbed/support/folders.js'
import { machine } from './support/machine.js'
import { isRoot, limitedLink } from './support/network.js'
import { readOptions } from './support/options.js'
import { takeTurns } from './support/rotation.js'

const linkRate = 50_000_000
const rates = [0.2, 0.5, 0.9, 1.5, 4]
const patterns = {
  random: ['--rw=randwrite', '--bs=4k', '--norandommap'],
  zipf: ['--rw=randwrite', '--bs=4k', '--norandommap', '--random_distribution=zipf:1.1'],
  sequential: ['--rw=write', '--bs=4k']
}
const budgetMs = 300

const options = readOptions({ runs: 1, quickRuns: 1 })
const sizeMiB = options.quick ? 128 : 1024
const limitMs = options.quick ? 90_000 : 600_000
if (!isRoot()) throw new Error('converge makes network namespaces: run it as root')
const folder = memoryFolder()
const pristine = join(folder, 'pristine')
const link = await limitedLink(linkRate)

const movers = {
  ...(options.peersOnly ? {} : { [ours]: moveLive }),
  mirror: mirrorLive({}),
  'mirror-write-blocking': mirrorLive({ 'copy-mode': 'write-blocking' })
}

function workloads (): Workload[] {
  return Object.entries(patterns).flatMap(([pattern, fio]) =>
    rates.map((rate) => ({
      name: `${pattern}-${rate}x`,
      fio: [...fio, `--size=${sizeMiB}M`],
      bytesPerSecond: Math.round((rate * linkRate) / 8)
    }))
  )
}

async function measure (workload: Workload): Promise<CaseReport> {
  const setting = { folder, link, workload, limitMs, budgetMs }
  const contenders = Object.entries(movers).map(([name, move]) => {
    return { name, run: () => moveOnce(setting, pristine, move) }
  })
  return reportCase(workload.name, await takeTurns(contenders, options.runs))
}

// Incompressible, so that what is saved on the wire is saved by sending blocks less often.
await run('dd', 'if=/dev/urandom', `of=${pristine}`, 'bs=1M', `count=${sizeMiB}`, 'status=none')
const chosen = workloads().filter(({ name }) => options.wants(name))
console.log(`${sizeMiB} MiB disk, ${linkRate / 1e6} Mbit/s, downtime budget ${budgetMs} ms`)
console.log(`given up after ${limitMs / 1000} s; ${chosen.length} cases, runs: ${options.runs}`)
const reports: CaseReport[] = []
for (const workload of chosen) {
  console.error(workload.name)
  const report = await measure(workload)
  printCase(report)
  reports.push(report)
}
if (options.json) printJson('converge', await machine(), reports)
