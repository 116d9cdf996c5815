// blockferry's client of QEMU's monitor, with a memory for events.

import { setTimeout as sleep } from 'node:timers/promises'
import { Qmp as Client, type QmpEvent } from '../../lib/machine/qmp.js'

export type { QmpEvent } from '../../lib/machine/qmp.js'

export class Qmp {
  #client: Client
  #events: QmpEvent[] = []
  #watchers = new Set<() => void>()

  /** Connects as soon as the socket is there (waits up to 10 s). */
  static async connect (path: string): Promise<Qmp> {
    for (let i = 0; ; i++) {
      try {
        return new Qmp(await Client.connect(path))
      } catch (error) {
        if (i === 500) throw error
        await sleep(20)
      }
    }
  }

  private constructor (client: Client) {
    this.#client = client
    client.on('event', (event: QmpEvent) => {
      this.#events.push(event)
      this.#wakeAll()
    })
    client.on('closed', () => this.#wakeAll())
  }

  /** Executes a command and answers what it returns; throws with QEMU's words when it fails. */
  async execute (command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    return this.#client.run(command, args)
  }

  /** The events so far, in order. */
  get events (): readonly QmpEvent[] {
    return this.#events
  }

  /**
   * Waits for the first of these events (for which `fits` holds), also one that came before.
   * Undefined at the deadline.
   */
  async event (
    names: readonly string[],
    timeoutMs: number,
    fits = (_data: QmpEvent['data']) => true
  ): Promise<QmpEvent | undefined> {
    const signal = AbortSignal.timeout(Math.round(timeoutMs))
    for (;;) {
      const found = this.#events.find(({ event, data }) => names.includes(event) && fits(data))
      if (found) return found
      if (signal.aborted) return undefined
      if (this.#client.closed) throw new Error('QEMU closed the connection')
      await this.#nextEvent(signal)
    }
  }

  close (): void {
    this.#client.close()
  }

  async #nextEvent (signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#watchers.add(resolve)
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }

  #wakeAll (): void {
    for (const wake of this.#watchers) wake()
    this.#watchers.clear()
  }
}
