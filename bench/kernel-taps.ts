// `kernel-taps`: what a tap in the kernel costs a writer of a loop device, and what it marks too
// much. Root.

import { join } from 'node:path'
import { openTap } from '../lib/index.js'
import { atEnd } from './support/cleanup.js'
import { run, runSync } from './support/command.js'
import { type CaseReport, type Figures, printCase, printJson } from './support/figures.js'
import { ratio, reportCase } from './support/figures.js'
import { writeDevice } from './support/fio.js'
import { memoryFolder } from './support/folders.js'
import { machine } from './support/machine.js'
import { readOptions } from './support/options.js'
import { takeTurns } from './support/rotation.js'

const cases = {
  'random-4k-depth-1': ['--rw=randwrite', '--bs=4k', '--iodepth=1'],
  'random-4k-depth-32': ['--rw=randwrite', '--bs=4k', '--iodepth=32'],
}

const options = readOptions({ runs: 7, quickRuns: 1 })
const sizeMiB = options.quick ? 128 : 1024
const seconds = options.quick ? 2 : 5
const file = join(memoryFolder(), 'disk')

async function measured<T>(action: () => Promise<T>): Promise<{ ms: number; result: T }> {
  const begin = performance.now()
  const result = await action()
  return { ms: performance.now() - begin, result }
}

async function writeOnce(device: string, job: readonly string[]): Promise<Figures> {
  const time = ['--time_based=1', `--runtime=${seconds}`, '--ramp_time=1', `--size=${sizeMiB}M`]
  const { iops, latencyMsMean, latencyMs99 } = await writeDevice(device, [...job, ...time])
  return { iops, latencyMsMean, latencyMs99 }
}

async function writeTapped(device: string, job: readonly string[]): Promise<Figures> {
  const { ms: attachMs, result: tap } = await measured(() => openTap({ source: device, tap: 'bpf' }))
  tap.track()
  const figures = await writeOnce(device, job)
  const { ms: settleMs } = await measured(() => tap.quiesce())
  const { ms: detachMs } = await measured(() => tap.close())
  return { ...figures, attachMs, settleMs, detachMs }
}

await run('dd', 'if=/dev/urandom', `of=${file}`, 'bs=1M', `count=${sizeMiB}`, 'status=none')
const device = (await run('losetup', '--find', '--show', file)).trim()
atEnd(() => runSync('losetup', '--detach', device))
const reports: CaseReport[] = []
for (const [name, job] of Object.entries(cases).filter(([name]) => options.wants(name))) {
  console.error(`${name}; ${options.runs} runs of ${seconds} s, ${sizeMiB} MiB`)
  const contenders = [
    { name: 'without', run: () => writeOnce(device, job) },
    { name: 'bpf', run: () => writeTapped(device, job) },
  ]
  const report = reportCase(name, await takeTurns(contenders, options.runs))
  printCase(report)
  const left = ratio(report.runs, 'iops', 'bpf', 'without')
  if (left !== null) console.log(`  with the bpf tap: ${left.toFixed(3)} of the speed without`)
  reports.push(report)
}
if (options.json) printJson('kernel-taps', await machine(), reports)
