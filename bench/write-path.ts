// `write-path`: what a server in the write path costs a writer, over NBD on a Unix socket.

import { join } from 'node:path'
import { nbdkit, qemuNbd } from './peers/servers.js'
import { blockferry } from './support/blockferry.js'
import { run } from '../testbed/support/command.js'
import { type CaseReport, type Figures, ours, printCase } from './support/figures.js'
import { printJson, ratio, reportCase } from './support/figures.js'
import { diskUri, verify, whenServing, write } from './support/fio.js'
import { memoryFolder } from '../testbed/support/folders.js'
import { machine } from './support/machine.js'
import { readOptions } from './support/options.js'
import { MeasuredProcess } from './support/process.js'
import { takeTurns } from './support/rotation.js'

const cases = {
  'random-4k-depth-1': ['--rw=randwrite', '--bs=4k', '--iodepth=1'],
  'random-4k-depth-32': ['--rw=randwrite', '--bs=4k', '--iodepth=32'],
  'sequential-1m': ['--rw=write', '--bs=1m', '--iodepth=4']
}

const tracking = `${ours}-tracking`
const options = readOptions({ runs: 7, quickRuns: 1 })
const sizeMiB = options.quick ? 128 : 1024
const seconds = options.quick ? 2 : 5
const folder = memoryFolder()
const disk = join(folder, 'disk')
const socket = join(folder, 'nbd')
const uri = diskUri(socket)

function serve (...more: string[]): string[] {
  const listen = ['--listen', `unix:${socket}`, '--control', join(folder, 'control')]
  return blockferry('serve', '--disk', `disk=${disk}`, ...listen, ...more)
}

const servers: Record<string, string[]> = {
  ...(options.peersOnly ? {} : { [ours]: serve(), [tracking]: serve('--track') }),
  nbdkit: nbdkit({ socket }, disk),
  'qemu-nbd': qemuNbd({ socket }, disk)
}

async function writeOnce (command: readonly string[], job: readonly string[]): Promise<Figures> {
  await run('rm', '-f', socket)
  const server = await MeasuredProcess.start(command)
  try {
    await whenServing(uri)
    const time = ['--time_based=1', `--runtime=${seconds}`, '--ramp_time=1', `--size=${sizeMiB}M`]
    const result = await write(uri, [...job, ...time])
    const usage = await server.stop()
    return {
      iops: result.iops,
      MiBPerSecond: result.bytesPerSecond / 2 ** 20,
      latencyMsMean: result.latencyMsMean,
      latencyMs99: result.latencyMs99,
      cpuSeconds: usage.cpuSeconds,
      peakMiB: usage.peakMiB,
      equal: await holdsWhatIsWritten(command)
    }
  } finally {
    await server.stop()
  }
}

// A server of its own, so that the figures are of the writing alone.
async function holdsWhatIsWritten (command: readonly string[]): Promise<boolean> {
  await run('rm', '-f', socket)
  const server = await MeasuredProcess.start(command)
  try {
    await whenServing(uri)
    return await verify(uri, disk, Math.min(64, sizeMiB))
  } finally {
    await server.stop()
  }
}

// Goals: not slower than the best rival; tracking costs at most 3 %.
function printVerdict ({ runs, peers }: CaseReport): void {
  for (const rival of Object.keys(peers).filter((name) => name !== tracking)) {
    const speed = ratio(runs, 'iops', ours, rival)
    if (speed !== null) console.log(`  ${ours}: ${speed.toFixed(2)} of the speed of ${rival}`)
  }
  const tracked = ratio(runs, 'iops', tracking, ours)
  if (tracked !== null) console.log(`  with tracking: ${tracked.toFixed(3)} of that without`)
}

await run('dd', 'if=/dev/urandom', `of=${disk}`, 'bs=1M', `count=${sizeMiB}`, 'status=none')
const reports: CaseReport[] = []
for (const [name, job] of Object.entries(cases).filter(([name]) => options.wants(name))) {
  console.error(`${name}; ${options.runs} runs of ${seconds} s, ${sizeMiB} MiB`)
  const contenders = Object.entries(servers).map(([server, command]) => {
    return { name: server, run: () => writeOnce(command, job) }
  })
  const report = reportCase(name, await takeTurns(contenders, options.runs))
  printCase(report)
  printVerdict(report)
  reports.push(report)
}
if (options.json) printJson('write-path', await machine(), reports)
