// blockferry as the benchmarks run it: by its command line, like any other program.

import { join } from 'node:path'
import { type Move, type Outcome, TimedWriter } from './converging.js'
import { type Copier, type CopyJob, measureCopy } from './copying.js'
import { ours } from './figures.js'
import { diskUri, whenServing } from './fio.js'
import { repository } from '../../testbed/support/folders.js'
import { MeasuredProcess } from './process.js'

/** The command that runs blockferry's command line. */
export function blockferry (...args: string[]): string[] {
  return [process.execPath, join(repository, 'dist', 'lib', 'cli.js'), ...args]
}

/** A `blockferry receive` that listens. */
export interface Receiver {
  readonly process: MeasuredProcess
  readonly address: string
}

export async function startReceiver (
  destination: string,
  host: string,
  namespace: string | undefined,
  protection: readonly string[]
): Promise<Receiver> {
  const listen = ['--listen', `${host}:0`, '--json', ...protection]
  const command = blockferry('receive', '--disk', `disk=${destination}`, ...listen)
  const receiver = await MeasuredProcess.start(command, namespace)
  const line = await receiver.line((text) => eventOf(text)?.event === 'listening')
  return { process: receiver, address: `${host}:${eventOf(line)?.port}` }
}

/** One line of --json output. */
interface CommandEvent {
  readonly event: string
  readonly port?: number
  readonly report?: MigrationReport
  readonly error?: { code: string, message?: string }
}

/** What the report of a migration has, as far as benchmarks look at it. */
export interface MigrationReport {
  readonly durationMs: number
  readonly downtimeMs: number
  readonly rounds: unknown
  readonly bytes: { disk: number, sent: number, wire: number, zero: number }
  readonly throttle: { delayMs: number, writesDelayed: number }
  /** Null when it was told not to check. */
  readonly equal: boolean | null
}

function eventOf (line: string): CommandEvent | undefined {
  return line.startsWith('{') ? (JSON.parse(line) as CommandEvent) : undefined
}

/** The report that ends a command's --json output; throws with its error when it failed. */
export function reportOf (sender: MeasuredProcess): MigrationReport {
  const last = eventOf(sender.lines.at(-1) ?? '')
  if (last?.event === 'done' && last.report) {
    if (last.report.equal === false) throw new Error('blockferry itself says: not equal')
    return last.report
  }
  const { code, message } = last?.error ?? {}
  throw new Error(`send failed: ${code ?? sender.errors} ${message ?? ''}`)
}

async function copy (job: CopyJob, options: readonly string[], protection: readonly string[] = []) {
  const { destination, namespace } = job
  const receiver = await startReceiver(destination, '127.0.0.1', namespace, protection)
  const target = ['--to', receiver.address, '--json', ...protection, ...options]
  const command = blockferry('send', '--disk', `disk=${job.source}`, ...target)
  const send = async () => {
    const sender = await MeasuredProcess.start(command, job.namespace)
    const usage = await sender.finished
    reportOf(sender)
    return usage
  }
  return measureCopy(job, receiver.process, send, true)
}

/** As it is used, and without its own check for equality, which shows what that costs. */
export const blockferryCopiers: readonly Copier[] = [
  { name: ours, checks: true, copy: (job) => copy(job, []) },
  { name: `${ours}-unchecked`, copy: (job) => copy(job, ['--no-equality']) }
]

/** Over TLS with the pre-shared key in this file. */
export function blockferryOverTls (keyFile: string): Copier {
  return { name: `${ours}-tls`, checks: true, copy: (job) => copy(job, [], ['--tls-psk', keyFile]) }
}

/** Moves a disk under its writer: `serve` holds it, `send` moves it to a `receive`. */
export async function moveLive (move: Move): Promise<Outcome> {
  const { link, folder } = move
  const [socket, control] = [join(folder, 'nbd'), join(folder, 'control')]
  const listen = ['--listen', `unix:${socket}`, '--control', control]
  const serve = blockferry('serve', '--disk', `disk=${move.source}`, ...listen)
  const server = await MeasuredProcess.start(serve, link.source)
  const receiver = await startReceiver(move.destination, link.address, link.destination, ['--plain'])
  try {
    await whenServing(diskUri(socket))
    const writer = await TimedWriter.start(socket, move.workload)
    const outcome = await sendLive(move, control, receiver, writer)
    await receiver.process.succeed()
    return outcome
  } finally {
    await receiver.process.stop()
    await server.stop()
  }
}

async function sendLive (
  move: Move,
  control: string,
  receiver: Receiver,
  writer: TimedWriter
): Promise<Outcome> {
  const budget = ['--downtime', `${move.budgetMs}ms`, '--deadline', `${move.limitMs / 1000}s`]
  const target = ['--control', control, '--to', receiver.address, '--plain', '--json']
  const bytesBefore = await move.link.wireBytes()
  const sender = await MeasuredProcess.start(
    blockferry('send', ...target, ...budget),
    move.link.source
  )
  const usage = await sender.finished
  const wireBytes = (await move.link.wireBytes()) - bytesBefore
  const writerShare = await writer.share()
  const report = reportOf(sender)
  return {
    seconds: usage.seconds,
    downtimeMs: report.downtimeMs,
    wireBytes,
    throttleDelayMs: report.throttle.delayMs,
    writerShare,
    reason: null
  }
}
