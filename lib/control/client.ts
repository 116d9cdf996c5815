// The control socket's client (protocol.ts).
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { connect } from 'node:net'

import { BlockferryError, codeSaid } from '../base/errors.js'
import { readLines } from './lines.js'
import type { CommandName, Commands } from './protocol.js'
import { checkSocketPath, socketError } from './socket-error.js'

interface Waiting {
  onEvent: (event: any) => void
  resolve: (result: any) => void
  reject: (error: BlockferryError) => void
}

/** Longer than any answer: the server's lines are trusted, a wrong server's are not. */
const kMaxAnswer = 2 ** 26

export class ControlClient {
  readonly #socket: Socket
  readonly #path: string
  readonly #waiting = new Map<number, Waiting>()
  #lastId = 0
  #gone: BlockferryError | null = null

  private constructor (socket: Socket, path: string) {
    this.#socket = socket
    this.#path = path
    readLines(socket, kMaxAnswer, {
      line: (text) => this.#onLine(text),
      tooLong: () => this.#end(this.#strange())
    })
    socket.on('error', () => {})
    socket.on('close', () => this.#end(
      new BlockferryError('PEER_GONE', `the process that listened on ${path} is gone`)))
  }

  /** Errors: NOT_FOUND (no socket, or nobody listens), NO_PERMISSION, INVALID (no socket). */
  static async connect (path: string): Promise<ControlClient> {
    checkSocketPath(path)
    const socket = connect(path)
    await once(socket, 'connect').catch((error: unknown) => { throw socketError(error, path) })
    return new ControlClient(socket, path)
  }

  /** Sends a command and waits for its result; its events come before that. Rejects with the
   * error of the other side, or PEER_GONE when that has ended. */
  request<C extends CommandName> (
    command: C, request: Commands[C]['arguments'], onEvent: (event: any) => void = () => {}
  ): Promise<Commands[C]['result']> {
    return new Promise((resolve, reject) => {
      if (this.#gone !== null) return reject(this.#gone)
      const id = ++this.#lastId
      this.#waiting.set(id, { onEvent, resolve, reject })
      this.#socket.write(`${JSON.stringify({ ...request, id, command })}\n`)
    })
  }

  close (): void {
    this.#socket.destroy()
  }

  #onLine (text: string): void {
    let message: any
    try {
      message = JSON.parse(text)
    } catch {
      message = null
    }
    if (message?.id === null && message.error !== undefined) {
      return this.#end(errorOf(message.error))
    }
    const waiting = this.#waiting.get(message?.id)
    if (waiting === undefined) {
      return this.#end(this.#strange())
    }
    if (message.event !== undefined) return waiting.onEvent(message.event)
    this.#waiting.delete(message.id)
    if (message.error !== undefined) waiting.reject(errorOf(message.error))
    else waiting.resolve(message.result)
  }

  #strange (): BlockferryError {
    return new BlockferryError('PROTOCOL', `${this.#path}: no blockferry answers there`)
  }

  #end (error: BlockferryError): void {
    this.#gone ??= error
    this.#socket.destroy()
    for (const { reject } of this.#waiting.values()) reject(this.#gone)
    this.#waiting.clear()
  }
}

/** An error that has travelled as JSON. */
export function errorOf (plain: any): BlockferryError {
  const { code = 'PROTOCOL', message = '', ...details } = plain ?? {}
  return new BlockferryError(codeSaid(code), String(message), details)
}
