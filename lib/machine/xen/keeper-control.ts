// A keeper's side of its control socket: tells everybody who connects which transfer it is for, its
// state and each change of it, and hands on what they ask for.
import { once } from 'node:events'
import { mkdirSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'

import type { KeeperCommand, KeeperState } from './keeper-state.js'

/** For those who are connected to take in the last words. */
const kGoodbyeMs = 1000

export class KeeperControl {
  readonly #path: string
  readonly #memorySocket: string
  readonly #server = createServer((socket) => this.#welcome(socket))
  readonly #sockets = new Set<Socket>()
  readonly #onCommand: (command: KeeperCommand) => void
  #state: KeeperState = 'moving'
  #bytes = 0

  /** Ends the program when another keeper of the domain still listens there. */
  static async open (
    path: string, memorySocket: string, onCommand: (command: KeeperCommand) => void
  ): Promise<KeeperControl> {
    if (await isServed(path)) {
      console.error('an earlier move of the domain is not over')
      process.exit(1)
    }
    return new KeeperControl(path, memorySocket, onCommand)
  }

  private constructor (path: string, memorySocket: string, onCommand: (command: KeeperCommand) => void) {
    this.#path = path
    this.#memorySocket = memorySocket
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

  /** Takes nobody in any more; resolves when those who are connected and listen know all. */
  async close (): Promise<void> {
    rmSync(this.#path, { force: true })
    const closed = new Promise<void>((resolve) => { this.#server.close(() => resolve()) })
    for (const socket of this.#sockets) socket.end()
    const timer = setTimeout(() => { for (const socket of this.#sockets) socket.destroy() }, kGoodbyeMs)
    await closed
    clearTimeout(timer)
  }

  #welcome (socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {}).on('close', () => { this.#sockets.delete(socket) })
    createInterface(socket).on('line', (line) => this.#take(line, socket)).on('error', () => {})
    socket.write(`for ${this.#memorySocket}\nstate ${this.#state}\n`)
  }

  #take (line: string, socket: Socket): void {
    if (line === 'count') socket.write(`count ${this.#bytes}\n`)
    else if (line === 'go' || line === 'moved' || line === 'undo') this.#onCommand(line)
  }
}

async function isServed (path: string): Promise<boolean> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
