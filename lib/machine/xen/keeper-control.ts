// A keeper's side of its control socket: tells everybody who connects its state and each change of
// it, and hands on what they ask for.
import { mkdirSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { createServer } from 'node:net'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'

import type { KeeperCommand, KeeperState } from './keeper-state.js'

export class KeeperControl {
  readonly #path: string
  readonly #server = createServer((socket) => this.#welcome(socket))
  readonly #sockets = new Set<Socket>()
  readonly #onCommand: (command: KeeperCommand) => void
  #state: KeeperState = 'moving'
  #bytes = 0

  constructor (path: string, onCommand: (command: KeeperCommand) => void) {
    this.#path = path
    this.#onCommand = onCommand
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    rmSync(path, { force: true })
    this.#server.listen(path)
  }

  get state (): KeeperState {
    return this.#state
  }

  /** So much of the memory went through. */
  count (bytes: number): void {
    this.#bytes += bytes
  }

  become (state: KeeperState): void {
    this.#state = state
    for (const socket of this.#sockets) socket.write(`state ${state}\n`)
  }

  /** Takes nobody in any more; resolves when those who are connected know all. */
  async close (): Promise<void> {
    rmSync(this.#path, { force: true })
    const closed = new Promise<void>((resolve) => { this.#server.close(() => resolve()) })
    for (const socket of this.#sockets) socket.end()
    await closed
  }

  #welcome (socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {}).on('close', () => { this.#sockets.delete(socket) })
    createInterface(socket).on('line', (line) => this.#take(line, socket)).on('error', () => {})
    socket.write(`state ${this.#state}\n`)
  }

  #take (line: string, socket: Socket): void {
    if (line === 'count') socket.write(`count ${this.#bytes}\n`)
    else if (line === 'go' || line === 'moved' || line === 'undo') this.#onCommand(line)
  }
}
