// A client of QEMU's monitor (QMP): commands with answers, and events.
import { EventEmitter, once } from 'node:events'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

import { BlockferryError } from '../base/errors.js'

/** A Unix socket's path, or a TCP address. */
export type QmpAddress = string | { host: string, port: number }

export interface QmpEvent {
  event: string
  data: Record<string, any>
  /** When it happened, by QEMU: ms since 1970. */
  atMs: number
}

interface Answer { command: string, resolve: (value: any) => void, reject: (error: BlockferryError) => void }

/** QEMU answers at once; a monitor that does not is stuck. */
const kAnswerMs = 10_000

function broken (words: string, cause?: unknown): BlockferryError {
  return new BlockferryError('MACHINE', `QEMU: ${words}`, cause === undefined ? {} : { cause })
}

/** Emits 'event' for QEMU's events and 'closed' with the reason when the monitor is gone. */
export class Qmp extends EventEmitter {
  readonly #socket: Socket
  readonly #answers = new Map<number, Answer>()
  #next = 1
  #closed: BlockferryError | null = null

  private constructor (socket: Socket) {
    super()
    this.#socket = socket
    this.setMaxListeners(0)
    socket.setNoDelay(true)
    socket.on('error', (error) => this.#end(broken(`the monitor failed: ${error.message}`, error)))
    socket.on('close', () => this.#end(broken('the monitor has closed')))
    createInterface(socket).on('line', (line) => this.#take(line)).on('error', () => {})
  }

  /** Connects and shakes hands. MACHINE when nobody is there, or somebody else than QEMU. */
  static async connect (address: QmpAddress): Promise<Qmp> {
    const where = typeof address === 'string' ? address : `${address.host}:${address.port}`
    const socket = typeof address === 'string' ? connect(address) : connect(address)
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(kAnswerMs) })
    } catch (cause) {
      socket.destroy()
      throw broken(`no monitor at ${where}: ${(cause as Error).message}`, cause)
    }
    const qmp = new Qmp(socket)
    try {
      await qmp.run('qmp_capabilities')
    } catch (error) {
      // Its place at the monitor is for the next who tries.
      qmp.close()
      throw error
    }
    return qmp
  }

  get closed (): boolean {
    return this.#closed !== null
  }

  /** Runs a command. MACHINE with QEMU's own words when it refuses, or when no answer comes. */
  async run (command: string, args: object = {}, answerMs = kAnswerMs): Promise<any> {
    if (this.#closed !== null) throw this.#closed
    const id = this.#next++
    const answer = new Promise<any>((resolve, reject) => this.#answers.set(id, { command, resolve, reject }))
    this.#socket.write(JSON.stringify({ execute: command, arguments: args, id }) + '\n')
    const timer = setTimeout(() => {
      this.#answers.get(id)?.reject(broken(`no answer to ${command}`))
    }, answerMs)
    try {
      return await answer
    } finally {
      clearTimeout(timer)
      this.#answers.delete(id)
    }
  }

  close (): void {
    this.#end(broken('the monitor was closed here'))
    this.#socket.destroy()
  }

  #tellEvent ({ event, data = {}, timestamp: { seconds = 0, microseconds = 0 } = {} }: any): void {
    this.emit('event', { event, data, atMs: seconds * 1000 + microseconds / 1000 } satisfies QmpEvent)
  }

  #end (reason: BlockferryError): void {
    if (this.#closed !== null) return
    this.#closed = reason
    for (const { reject } of this.#answers.values()) reject(reason)
    this.emit('closed', reason)
  }

  #take (line: string): void {
    let message: any
    try {
      message = JSON.parse(line)
    } catch {
      message = null
    }
    if (typeof message !== 'object' || message === null) {
      this.#end(broken('what answers there is no monitor'))
      this.#socket.destroy()
      return
    }
    if (typeof message.event === 'string') this.#tellEvent(message)
    const answer = this.#answers.get(message.id)
    if (message.return === null) answer?.reject(broken('what answers there is no monitor'))
    else if ('return' in message) answer?.resolve(message.return)
    if ('error' in message) answer?.reject(broken(`${answer.command}: ${message.error?.desc ?? 'an error'}`))
  }
}
