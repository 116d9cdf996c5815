// xl's programs, which outlive this process. What they say goes into a file: a pipe would break with
// it. One whose other pipes break is told so by its writes, and cleans up, rather than killed by a
// signal in the middle of its work.
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'

import { makeFolder, removeFolder } from './temporary-folder.js'
import { lastWords } from './xl.js'

export class Program {
  readonly #folder = makeFolder()
  readonly #child: ChildProcess
  /** Resolves with the exit code, -1 for a signal or a program that could not be started. */
  readonly ended: Promise<number>
  isOver = false

  constructor (command: string, args: readonly string[]) {
    const log = openSync(join(this.#folder, 'log'), 'w', 0o600)
    const words = ['-c', 'trap "" PIPE; exec "$@"', 'sh', command, ...args]
    this.#child = spawn('sh', words, { detached: true, stdio: ['ignore', log, log] })
    closeSync(log)
    this.#child.unref()
    this.ended = once(this.#child, 'exit').then(([code]) => (code as number | null) ?? -1, () => -1)
    void this.ended.then(() => { this.isOver = true })
  }

  /** What it said last. */
  words (): string {
    try {
      return lastWords(readFileSync(join(this.#folder, 'log'), 'utf8'))
    } catch {
      return ''
    }
  }

  kill (): void {
    if (!this.isOver) this.#child.kill('SIGTERM')
  }

  /** What it said is forgotten. */
  close (): void {
    removeFolder(this.#folder)
  }
}
