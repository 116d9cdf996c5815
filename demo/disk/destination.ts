// The other side: `blockferry receive` in a process of its own.
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const kProgram = fileURLToPath(new URL('../../lib/cli.js', import.meta.url))

export class Destination {
  readonly #child: ChildProcess
  readonly address: string

  private constructor (child: ChildProcess, address: string) {
    this.#child = child
    this.address = address
  }

  /** Starts it and waits until it listens. */
  static async start (name: string, path: string, socket: string): Promise<Destination> {
    const child = spawn(process.execPath, [
      kProgram, 'receive', '--disk', `${name}=${path}`, '--listen', '127.0.0.1:0',
      '--serve', `unix:${socket}`, '--json'
    ], { stdio: ['ignore', 'pipe', 'inherit'] })
    for await (const line of createInterface({ input: child.stdout })) {
      const event = JSON.parse(line)
      if (event.event === 'failed') throw new Error(event.error.message)
      if (event.event !== 'listening') continue
      child.stdout.resume()
      return new Destination(child, `${event.host}:${event.port}`)
    }
    throw new Error('blockferry receive has ended')
  }

  get pid (): number {
    return this.#child.pid!
  }

  async stop (): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill('SIGTERM')
    await once(this.#child, 'exit')
  }
}
