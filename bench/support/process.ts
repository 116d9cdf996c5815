// Runs the programs under test and measures what they take.

import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { helper } from './helper.js'

/** What a program took. CPU and memory are the kernel's own figures (getrusage). */
export interface Usage {
  /** From its start to its end. */
  readonly seconds: number
  /** User and system time, all its processes. */
  readonly cpuSeconds: number
  /** The peak resident set of its largest process. */
  readonly peakMiB: number
  readonly exitCode: number
}

/** A program that runs, measured. It does not outlive the benchmark. */
export class MeasuredProcess {
  readonly finished: Promise<Usage>
  #child: ChildProcess
  #lines: string[] = []
  #watchers = new Set<() => void>()
  #errors = ''
  #hasEnded = false

  /** Starts a command, in a network namespace if one is named. */
  static async start (command: readonly string[], namespace?: string): Promise<MeasuredProcess> {
    return new MeasuredProcess([...inNamespace(namespace), await helper('measure'), ...command])
  }

  private constructor (command: readonly string[]) {
    const [program, ...args] = command as [string, ...string[]]
    this.#child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] })
    createInterface(this.#child.stdout as Readable).on('line', (line) => {
      this.#lines.push(line)
      this.#wakeAll()
    })
    this.#child.stderr?.on('data', (data) => {
      this.#errors = (this.#errors + String(data)).slice(-4000)
    })
    this.finished = this.#watchEnd(command)
    this.finished.catch(() => undefined) // whoever waits for it gets the error
  }

  /** The lines it wrote to its standard output. */
  get lines (): readonly string[] {
    return this.#lines
  }

  /** The end of what it wrote to its standard error. */
  get errors (): string {
    return this.#errors
  }

  get hasEnded (): boolean {
    return this.#hasEnded
  }

  /** The first line of output that `wanted` accepts; throws when it ends without one. */
  async line (wanted: (line: string) => boolean): Promise<string> {
    for (;;) {
      const found = this.#lines.find(wanted)
      if (found !== undefined) return found
      if (this.#hasEnded) throw new Error(`it ended early: ${this.#errors}`)
      await new Promise<void>((resolve) => this.#watchers.add(resolve))
    }
  }

  /** Asks it to end (SIGTERM unless told otherwise) and answers what it took. */
  async stop (signal: NodeJS.Signals = 'SIGTERM'): Promise<Usage> {
    if (!this.#hasEnded) this.#child.kill(signal)
    return this.finished
  }

  /** Waits for its end; throws unless it ended well. */
  async succeed (): Promise<Usage> {
    const usage = await this.finished
    if (usage.exitCode !== 0) throw new Error(`exit code ${usage.exitCode}: ${this.#errors}`)
    return usage
  }

  async #watchEnd (command: readonly string[]): Promise<Usage> {
    let report = ''
    const reports = this.#child.stdio[3] as Readable
    reports.on('data', (data) => (report += String(data)))
    await new Promise<void>((resolve, reject) => {
      this.#child.once('error', reject)
      this.#child.once('close', () => resolve())
    })
    this.#hasEnded = true
    this.#wakeAll()
    if (report === '') throw new Error(`${command.join(' ')}: ${this.#errors}`)
    return JSON.parse(report) as Usage
  }

  #wakeAll (): void {
    for (const wake of this.#watchers) wake()
    this.#watchers.clear()
  }
}

/** The command prefix that runs a command in a network namespace. */
export function inNamespace (namespace: string | undefined): string[] {
  return namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace]
}
