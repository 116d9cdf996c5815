// Runs the real command line as a child process and reads what it says.
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const kProgram = fileURLToPath(new URL('../../lib/cli.js', import.meta.url))

/** Without what tap puts there to measure coverage: it makes every start slow. */
export const kEnvironment = { ...process.env, NODE_OPTIONS: '' }

/** What a tap test offers for cleaning up. */
export interface Teardown { teardown: (body: () => unknown) => void }

export interface Ended { code: number | null, stdout: string, stderr: string }

/** A directory of the test's own, with a short path: sockets live in it. */
export function scratch (t: Teardown): (name: string) => string {
  const folder = mkdtempSync(join(tmpdir(), 'bf-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return (name) => join(folder, name)
}

/** How a process is started in a setting of its own. */
export interface Start {
  /** A program that runs it. */
  by?: readonly string[]
  env?: Readonly<Record<string, string>>
}

export class CliProcess {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  #stdout = ''
  #stderr = ''
  #look: Array<() => void> = []

  constructor (t: Teardown, args: string[], { by = [], env = {} }: Start = {}) {
    const [program, ...rest] = [...by, process.execPath, kProgram, ...args]
    this.child = spawn(program!, rest, {
      env: { ...kEnvironment, ...env }, stdio: ['ignore', 'pipe', 'pipe']
    })
    this.child.stdout!.setEncoding('utf8').on('data', (text) => {
      this.#stdout += text
      this.#lookAgain()
    })
    this.child.stderr!.setEncoding('utf8').on('data', (text) => {
      this.#stderr += text
      this.#lookAgain()
    })
    this.ended = once(this.child, 'close').then(([code]) => {
      this.#lookAgain()
      return { code, stdout: this.#stdout, stderr: this.#stderr }
    })
    t.teardown(async () => {
      this.child.kill('SIGKILL')
      await this.ended
    })
  }

  get hasEnded (): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  /** Waits for a match in what it has printed on stdout or stderr. */
  async said (pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr)
      if (match !== null) return match
      if (this.hasEnded) throw new Error(`ended without ${pattern}:\n${this.#stdout}\n${this.#stderr}`)
      await new Promise<void>((resolve) => this.#look.push(resolve))
    }
  }

  /** The events so far, with --json. */
  events (): any[] {
    return jsonLines(this.#stdout)
  }

  /** Waits for an event of this name that fits. */
  async event (name: string, fits: (event: any) => boolean = () => true): Promise<any> {
    for (;;) {
      const found = this.events().find((event) => event.event === name && fits(event))
      if (found !== undefined) return found
      if (this.hasEnded) throw new Error(`ended without ${name}:\n${this.#stdout}\n${this.#stderr}`)
      await new Promise<void>((resolve) => this.#look.push(resolve))
    }
  }

  /** Ends it with a signal and answers its exit code. */
  async end (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.child.kill(signal)
    return (await this.ended).code
  }

  #lookAgain (): void {
    const look = this.#look
    this.#look = []
    for (const resolve of look) resolve()
  }
}

/** A serve of disks in files NAME-DISK.img, with sockets NAME.nbd and NAME.control. */
export function serve (
  t: Teardown, path: (name: string) => string, name: string, ...disks: string[]
): CliProcess {
  return new CliProcess(t, [
    'serve', ...disks.flatMap((disk) => ['--disk', `${disk}=${path(`${name}-${disk}.img`)}`]),
    '--listen', `unix:${path(`${name}.nbd`)}`, '--control', path(`${name}.control`), '--json'
  ])
}

/** Runs a command to its end. */
export async function run (t: Teardown, ...args: string[]): Promise<Ended> {
  return await new CliProcess(t, args).ended
}

/** Every complete line as JSON; throws on one that is not. */
export function jsonLines (text: string): any[] {
  return text.split('\n').slice(0, -1).map((line) => JSON.parse(line))
}
