// The control socket's server: lines in, a handler's events and results out (protocol.ts).
import { lstatSync } from 'node:fs'
import { chmod, unlink } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import { once } from 'node:events'

import { BlockferryError, toBlockferryError } from '../base/errors.js'
import { readLines } from './lines.js'
import { kMaxLine } from './protocol.js'
import { checkSocketPath, socketError } from './socket-error.js'

/** Answers one command; what it throws becomes the error of the answer. */
export type Handler = (
  command: string, request: Record<string, unknown>, emit: (event: { event: string }) => void
) => Promise<object>

/** A client that doesn't read loses progress events from here on, bytes. */
const kMaxUnread = 2 ** 20
/** How long a client may take to read the last answers when the server closes, ms. */
const kGoodbyeMs = 1000

export class ControlServer {
  readonly #handler: Handler
  readonly #server = createServer({ allowHalfOpen: true }, (socket) => this.#onConnection(socket))
  readonly #sockets = new Set<Socket>()

  constructor (handler: Handler) {
    this.#handler = handler
  }

  /** Makes the socket, for its owner only; one that nobody listens on any more is replaced.
   * Errors: ADDRESS_IN_USE, NO_PERMISSION, NOT_FOUND (no such directory), INVALID. */
  async listen (path: string): Promise<void> {
    checkSocketPath(path)
    await removeStale(path)
    const umask = process.umask(0o177)
    try {
      this.#server.listen(path)
    } finally {
      process.umask(umask)
    }
    const listening = once(this.#server, 'listening')
    await listening.catch((error: unknown) => { throw socketError(error, path) })
    await chmod(path, 0o600)
  }

  /** Ends every connection once it has its last answers. Idempotent. */
  async close (): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : Promise.resolve()
    this.#server.close()
    for (const socket of this.#sockets) {
      socket.end()
      setTimeout(() => socket.destroy(), kGoodbyeMs).unref()
    }
    await closed
  }

  #onConnection (socket: Socket): void {
    let running = 0
    let ended = false
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    const endWhenIdle = () => {
      if (ended && running === 0) socket.end()
    }
    socket.on('end', () => {
      ended = true
      endWhenIdle()
    })
    readLines(socket, kMaxLine, {
      line: (text) => {
        running++
        void this.#answer(socket, text).finally(() => {
          running--
          endWhenIdle()
        })
      },
      tooLong: () => refuse(socket, 'a line is too long')
    })
  }

  async #answer (socket: Socket, text: string): Promise<void> {
    const request = parseRequest(text)
    if (request === null) return refuse(socket, 'a line is no request')
    const { id, command, ...rest } = request
    try {
      const result = await this.#handler(command, rest, (event) => {
        if (event.event === 'progress' && socket.writableLength > kMaxUnread) return
        send(socket, { id, event })
      })
      send(socket, { id, result })
    } catch (error) {
      send(socket, { id, error: toBlockferryError(error) })
    }
  }
}

function parseRequest (text: string): { id: number, command: string } | null {
  try {
    const request = JSON.parse(text)
    return Number.isSafeInteger(request?.id) && typeof request.command === 'string' ? request : null
  } catch {
    return null
  }
}

function send (socket: Socket, message: object): void {
  if (socket.writable) socket.write(`${JSON.stringify(message)}\n`)
}

function refuse (socket: Socket, why: string): void {
  send(socket, { id: null, error: new BlockferryError('PROTOCOL', `control socket: ${why}`) })
  socket.end()
  socket.destroySoon()
}

/** Unlinks a socket that nobody listens on; anything else at the path stays. */
async function removeStale (path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket()) {
    throw new BlockferryError('ADDRESS_IN_USE', `${path} is there already and is no socket`)
  }
  if (await isServed(path)) {
    throw new BlockferryError('ADDRESS_IN_USE', `another process listens on ${path}`)
  }
  await unlink(path).catch((error: unknown) => { throw socketError(error, path) })
}

async function isServed (path: string): Promise<boolean> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ECONNREFUSED'
  } finally {
    socket.destroy()
  }
}
