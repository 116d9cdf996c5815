// A minimal client of QEMU's machine protocol over a Unix socket.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

interface Message {
  readonly id?: number
  readonly return?: unknown
  readonly error?: { class: string; desc: string }
  readonly event?: string
  readonly data?: Record<string, unknown>
  readonly timestamp?: { seconds: number; microseconds: number }
}

export interface QmpEvent {
  readonly name: string
  readonly data: Record<string, unknown>
  /** When it happened, by QEMU: milliseconds since 1970. */
  readonly atMs: number
}

export class Qmp {
  #socket: Socket
  #nextId = 1
  #waiting = new Map<number, (message: Message) => void>()
  #events: QmpEvent[] = []
  #watchers = new Set<() => void>()
  #hasEnded = false

  /** Connects as soon as the socket is there (waits up to 10 s). */
  static async connect(path: string): Promise<Qmp> {
    for (let i = 0; ; i++) {
      const socket = connect(path)
      try {
        await once(socket, 'connect')
        const qmp = new Qmp(socket)
        await qmp.execute('qmp_capabilities')
        return qmp
      } catch (error) {
        if (i === 500) throw error
        await sleep(20)
      }
    }
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#endAll())
    createInterface(socket)
      .on('error', () => undefined) // the socket's, again
      .on('line', (line) => this.#dispatch(JSON.parse(line) as Message))
  }

  /** Executes a command and answers what it returns; throws with QEMU's words when it fails. */
  async execute(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    const id = this.#nextId++
    const reply = new Promise<Message>((resolve) => this.#waiting.set(id, resolve))
    this.#socket.write(JSON.stringify({ execute: command, arguments: args, id }) + '\n')
    const message = await reply
    if (message.error) throw new Error(`${command}: ${message.error.desc}`)
    return message.return
  }

  /** The events so far, in order. */
  get events(): readonly QmpEvent[] {
    return this.#events
  }

  /**
   * Waits for the first of these events (for which `fits` holds), also one that came before.
   * Undefined at the deadline.
   */
  async event(
    names: readonly string[],
    timeoutMs: number,
    fits = (_data: QmpEvent['data']) => true,
  ): Promise<QmpEvent | undefined> {
    const signal = AbortSignal.timeout(Math.round(timeoutMs))
    for (;;) {
      const found = this.#events.find(({ name, data }) => names.includes(name) && fits(data))
      if (found) return found
      if (signal.aborted) return undefined
      if (this.#hasEnded) throw new Error('QEMU closed the connection')
      await this.#nextEvent(signal)
    }
  }

  close(): void {
    this.#socket.destroy()
  }

  async #nextEvent(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#watchers.add(resolve)
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }

  #endAll(): void {
    this.#hasEnded = true
    const error = { class: 'GenericError', desc: 'QEMU closed the connection' }
    for (const resolve of this.#waiting.values()) resolve({ error })
    this.#waiting.clear()
    this.#wakeAll()
  }

  #wakeAll(): void {
    for (const wake of this.#watchers) wake()
    this.#watchers.clear()
  }

  #dispatch(message: Message): void {
    if (message.id !== undefined) {
      this.#waiting.get(message.id)?.(message)
      this.#waiting.delete(message.id)
    } else if (message.event !== undefined) {
      const { event: name, data = {}, timestamp = { seconds: 0, microseconds: 0 } } = message
      const atMs = timestamp.seconds * 1000 + timestamp.microseconds / 1000
      this.#events.push({ name, data, atMs })
      this.#wakeAll()
    }
  }
}
