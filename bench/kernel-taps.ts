// `kernel-taps`: what a tap in the kernel costs a writer of a block device, what it misses, what it
// marks too much, and how long it takes to tell what is dirty on a large disk. Root.

import { rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../testbed/support/command.js'
import { type CaseReport, type Figures, median, printCase, printJson } from './support/figures.js'
import { ratio, reportCase } from './support/figures.js'
import { writeDevice } from './support/fio.js'
import { memoryFolder } from '../testbed/support/folders.js'
import { machine } from './support/machine.js'
import { readOptions } from './support/options.js'
import { takeTurns } from './support/rotation.js'
import { compareReported, compareWrites } from './taps/compare.js'
import { dm, type TapContender, tapsHere } from './taps/contender.js'
import { readDirtySet } from './taps/dirty-set.js'
import { kernelTapsInLab } from './taps/in-lab.js'
import { measurePauses } from './taps/pauses.js'
import { measureStep } from './taps/step-response.js'

const taps = tapsHere()

const options = readOptions({ runs: 7, quickRuns: 1 }, ['writes'])
const sizeMiB = options.quick ? 128 : 1024
const seconds = options.quick ? 2 : 5
const writes = Number(options.own.writes ?? (options.quick ? 300_000 : 10_000_000))
const largeBytes = options.quick ? 2 ** 36 : 2 ** 40
const folder = memoryFolder()

async function writeOnce (device: string, depth: number): Promise<Figures> {
  const job = ['--rw=randwrite', '--bs=4k', `--iodepth=${depth}`]
  const time = ['--time_based=1', `--runtime=${seconds}`, '--ramp_time=1', `--size=${sizeMiB}M`]
  const { iops, latencyMsMean, latencyMs99 } = await writeDevice(device, [...job, ...time])
  return { iops, latencyMsMean, latencyMs99 }
}

async function writeTapped (tapKind: TapContender, device: string, depth: number): Promise<Figures> {
  await using tap = await tapKind.attach(device)
  tap.track()
  const figures = await writeOnce(device, depth)
  const begin = performance.now()
  await tap.quiesce()
  return { ...figures, settleMs: performance.now() - begin }
}

const speeds = (tapKind: TapContender, device: string, depth: number) => async () => {
  const contenders = [
    { name: 'without', run: () => writeOnce(device, depth) },
    { name: tapKind.name, run: () => writeTapped(tapKind, device, depth) }
  ]
  return takeTurns(contenders, options.runs)
}

const alone = (tapKind: TapContender, runs: number, measure: () => Promise<Figures>) => () =>
  takeTurns([{ name: tapKind.name, run: measure }], runs)

async function onLargeDisk (tapKind: TapContender): Promise<Figures> {
  const file = join(folder, 'large')
  writeFileSync(file, '')
  truncateSync(file, largeBytes)
  try {
    return await readDirtySet(tapKind, await tapKind.makeDevice(file), largeBytes)
  } finally {
    rmSync(file)
  }
}

const reports: CaseReport[] = []
const verdicts: Record<string, Figures> = {}
for (const tapKind of taps) {
  const file = join(folder, `disk-${tapKind.name}`)
  await run('dd', 'if=/dev/urandom', `of=${file}`, 'bs=1M', `count=${sizeMiB}`, 'status=none')
  const device = await tapKind.makeDevice(file)
  const cases = {
    'random-4k-depth-1': speeds(tapKind, device, 1),
    'random-4k-depth-32': speeds(tapKind, device, 32),
    'attach-detach': alone(tapKind, options.runs, () => measurePauses(tapKind, device, folder)),
    'reported-over-changed': alone(tapKind, 1, () => compareReported(tapKind, device, sizeMiB << 20)),
    'compared-writes': alone(tapKind, 1, () => compareWrites(tapKind, device, folder, writes)),
    'dirty-set': alone(tapKind, 1, () => onLargeDisk(tapKind)),
    'throttle-step': alone(tapKind, Math.min(options.runs, 3), () => measureStep(tapKind, device, 'cgroup')),
    ...(tapKind === dm && {
      'delay-step': alone(tapKind, Math.min(options.runs, 3), () => measureStep(tapKind, device, 'delay'))
    })
  }
  const ofTap: CaseReport[] = []
  for (const [name, measure] of Object.entries(cases).filter(([name]) => options.wants(name))) {
    console.error(`${name}, ${tapKind.name}`)
    const report = reportCase(name, await measure())
    printCase(report)
    ofTap.push(report)
  }
  verdicts[tapKind.name] = verdictOf(tapKind.name, ofTap)
  reports.push(...ofTap)
}
for (const [name, verdict] of Object.entries(verdicts)) console.log(name, verdict)
// What this kernel has no device for is measured in the lab's.
const lab = taps.length === 1 && options.wants('lab') ? await kernelTapsInLab() : null
if (options.json) printJson('kernel-taps', await machine(), reports, { taps: verdicts, lab })

/** The figures that taps are compared by: medians; null for what was not measured. */
function verdictOf (name: string, ofTap: readonly CaseReport[]): Figures {
  const runsOf = (part: string) => ofTap.find((report) => report.name === part)?.runs ?? {}
  const middle = (part: string, key: string) => {
    const values = (runsOf(part)[name] ?? []).map((figures) => figures[key])
    return median(values.filter((value) => typeof value === 'number'))
  }
  const pauses = ['attachMs', 'attachPauseMs', 'detachMs', 'detachPauseMs', 'quietPauseMs', 'tappedPauseMs']
  const steps = ['throttleOnMs', 'throttleHeld', 'throttleOffMs']
  return {
    iopsRatio: ratio(runsOf('random-4k-depth-32'), 'iops', name, 'without'),
    iopsRatioDepth1: ratio(runsOf('random-4k-depth-1'), 'iops', name, 'without'),
    ...Object.fromEntries(pauses.map((key) => [key, middle('attach-detach', key)])),
    missed: middle('compared-writes', 'missed'),
    comparedWrites: middle('compared-writes', 'comparedWrites'),
    reportedOverChanged: middle('reported-over-changed', 'reportedOverChanged'),
    readDirtyMs: middle('dirty-set', 'readDirtyMs'),
    idleCpuShare: middle('dirty-set', 'idleCpuShare'),
    ...Object.fromEntries(steps.map((key) => [key, middle('throttle-step', key)])),
    ...Object.fromEntries(steps.map((key) => [`delay-${key}`, middle('delay-step', key)]))
  }
}
