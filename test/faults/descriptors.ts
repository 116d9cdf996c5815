// How many descriptors this process may have, from one moment to the next.
import { once } from 'node:events'
import { spawn, type ChildProcess } from 'node:child_process'
import { readdirSync } from 'node:fs'

/** In a process of its own: without descriptors none could be started. */
export class DescriptorLimit implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #usual: string
  #said = 0
  #done = 0

  static async open (): Promise<DescriptorLimit> {
    const script = 'prlimit --pid "$PPID" --nofile --output SOFT --noheadings; ' +
      'while read limit; do prlimit --pid "$PPID" --nofile="$limit:" && echo; done'
    const child = spawn('sh', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] })
    const [usual] = await once(child.stdout, 'data')
    return new DescriptorLimit(child, String(usual).trim())
  }

  private constructor (child: ChildProcess, usual: string) {
    this.#child = child
    this.#usual = usual
    child.stdout!.on('data', (lines) => { this.#done += lines.length })
  }

  /** So many more can be opened, and then none. */
  leave (more: number): void {
    const open = new Set(readdirSync('/proc/self/fd').map(Number))
    let limit = 0
    for (let free = 0; free < more; limit++) if (!open.has(limit)) free++
    this.#say(Math.max(limit, 1))
  }

  /** As many as before, when it resolves. */
  async restore (): Promise<void> {
    this.#say(this.#usual)
    while (this.#done < this.#said) await once(this.#child.stdout!, 'data')
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    await this.restore()
    this.#child.stdin!.end()
    await once(this.#child, 'exit')
  }

  #say (limit: number | string): void {
    this.#said++
    this.#child.stdin!.write(`${limit}\n`)
  }
}
