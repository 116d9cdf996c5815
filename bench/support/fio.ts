// fio as the writer: over NBD to the server under test, or to a device.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { atEnd } from '../../testbed/support/cleanup.js'
import { run, tryRun } from '../../testbed/support/command.js'

/** The NBD address of the export that the benchmarks use. */
export function diskUri (socket: string): string {
  return `nbd+unix:///disk?socket=${socket}`
}

/** Waits until a server answers. */
export async function whenServing (uri: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if ((await tryRun('nbdinfo', '--size', uri)) !== undefined) return
    await sleep(20)
  }
  throw new Error(`no NBD server answers at ${uri}`)
}

/** What fio did. */
export interface WriteResult {
  readonly writes: number
  readonly bytes: number
  readonly iops: number
  readonly bytesPerSecond: number
  readonly latencyMsMean: number
  readonly latencyMs99: number
}

// No two writes carry the same bytes, and none can be compressed.
const content = ['--refill_buffers=1', '--buffer_compress_percentage=0']

function nbdArguments (uri: string, options: readonly string[]): string[] {
  const engine = ['--name=writer', '--thread', '--ioengine=nbd', `--uri=${uri}`]
  return [...engine, '--output-format=json', ...content, ...options]
}

/** Runs fio to its end. */
export async function write (uri: string, options: readonly string[]): Promise<WriteResult> {
  return parseResult(await run('fio', ...nbdArguments(uri, options)))
}

/** The same to a block device, past the page cache. */
export async function writeDevice (path: string, options: readonly string[]): Promise<WriteResult> {
  const engine = ['--name=writer', '--ioengine=libaio', '--direct=1', `--filename=${path}`]
  return parseResult(await run('fio', ...engine, '--output-format=json', ...content, ...options))
}

/** Writes with checksums over NBD, then reads the file itself and checks that all is there. */
export async function verify (uri: string, path: string, sizeMiB: number): Promise<boolean> {
  const job = ['--rw=randwrite', '--bs=4k', `--size=${sizeMiB}M`, '--verify=crc32c']
  await run('fio', ...nbdArguments(uri, [...job, '--iodepth=16', '--do_verify=0']))
  const read = ['--name=writer', '--ioengine=psync', `--filename=${path}`, '--verify_only=1']
  return (await tryRun('fio', ...read, ...job)) !== undefined
}

interface FioOutput {
  readonly jobs: [
    {
      readonly write: {
        readonly total_ios: number
        readonly io_bytes: number
        readonly iops: number
        readonly bw_bytes: number
        readonly clat_ns: { mean: number, percentile?: Record<string, number> }
      }
    }
  ]
}

// The reports in fio's output: one at its end, and one for each time it was asked.
function reports (output: string): string[] {
  return output.match(/^\{$[^]*?^\}$/gm) ?? []
}

function parseResult (output: string): WriteResult {
  const report = reports(output).at(-1)
  if (report === undefined) throw new Error(`fio reported nothing: ${output}`)
  const { write: done } = (JSON.parse(report) as FioOutput).jobs[0]
  return {
    writes: done.total_ios,
    bytes: done.io_bytes,
    iops: done.iops,
    bytesPerSecond: done.bw_bytes,
    latencyMsMean: done.clat_ns.mean / 1e6,
    latencyMs99: (done.clat_ns.percentile?.['99.000000'] ?? 0) / 1e6
  }
}

/** A fio that writes until it is stopped or its disk refuses. */
export class Writer {
  #child: ChildProcess
  #output = ''
  #closed: Promise<unknown>

  constructor (uri: string, options: readonly string[]) {
    const endless = ['--time_based=1', '--runtime=1d']
    const args = nbdArguments(uri, [...endless, ...options])
    this.#child = spawn('fio', args, { stdio: ['ignore', 'pipe', 'ignore'] })
    this.#child.stdout?.on('data', (data) => (this.#output += String(data)))
    this.#closed = once(this.#child, 'close')
    atEnd(() => this.#child.kill('SIGKILL'))
  }

  /** What it did so far. */
  async soFar (): Promise<WriteResult> {
    const before = reports(this.#output).length
    this.#child.kill('SIGUSR1')
    for (let i = 0; i < 500 && reports(this.#output).length === before; i++) await sleep(10)
    return parseResult(this.#output)
  }

  /** Freezes it, as a hypervisor pauses a machine: from here on it sends nothing. */
  freeze (): void {
    this.#child.kill('SIGSTOP')
  }

  /** Ends it; answers what it did. Its disk may be gone already. */
  async end (): Promise<WriteResult> {
    this.#child.kill('SIGCONT')
    this.#child.kill('SIGINT')
    await this.#closed
    return parseResult(this.#output)
  }
}
