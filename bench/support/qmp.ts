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
}

export class Qmp {
  #socket: Socket
  #nextId = 1
  #waiting = new Map<number, (message: Message) => void>()
  #events: Message[] = []
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
    createInterface(socket).on('line', (line) => this.#dispatch(JSON.parse(line) as Message))
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

  /** Waits for the first of these events, also one that came before. Undefined at the deadline. */
  async event(
    names: readonly string[],
    timeoutMs: number,
  ): Promise<{ name: string; data: Record<string, unknown> } | undefined> {
    const signal = AbortSignal.timeout(timeoutMs)
    for (;;) {
      const found = this.#events.find((message) => names.includes(message.event ?? ''))
      if (found) return { name: found.event ?? '', data: found.data ?? {} }
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
      this.#events.push(message)
      this.#wakeAll()
    }
  }
}
