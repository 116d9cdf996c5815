// One of the two tools, in the network of its host.
import type { ChildProcess } from 'node:child_process'
import { on } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import { end, start } from '../support/process.js'

export class Tool {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterableIterator<string[]>

  constructor (namespace: string, name: 'source' | 'destination', ...args: string[]) {
    const program = fileURLToPath(new URL(`./${name}.js`, import.meta.url))
    this.#child = start([process.execPath, program, ...args], { namespace, stdio: ['pipe', 'pipe', 'inherit'] })
    const lines = createInterface(this.#child.stdout!)
    this.#lines = on(lines, 'line', { close: ['close'] })
  }

  async next (): Promise<any> {
    const { value, done } = await this.#lines.next()
    if (done === true) throw new Error('a tool ended too early')
    return JSON.parse(value[0] as string)
  }

  /** The first event of that kind from here on. */
  async until (fits: (event: any) => boolean): Promise<any> {
    for (;;) {
      const event = await this.next()
      if (fits(event)) return event
    }
  }

  async* events (): AsyncGenerator<any> {
    for (;;) {
      const event = await this.next()
      yield event
      if (event.event === 'done' || event.event === 'failed') return
    }
  }

  say (line: string): void {
    this.#child.stdin!.write(line + '\n')
  }

  async close (): Promise<void> {
    await end(this.#child, 'SIGTERM')
  }
}
