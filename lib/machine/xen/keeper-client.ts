// The migration's side of a keeper's control socket.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

import { BlockferryError } from '../../base/errors.js'
import { kRuntimeFolder } from '../../base/runtime-folder.js'
import type { KeeperCommand, KeeperState } from './keeper-state.js'
import { isFinal } from './keeper-state.js'

const kLookMs = 50

/** Where the keeper of a domain listens. */
export function controlPath (role: 'source' | 'destination', domain: string): string {
  return join(kRuntimeFolder, 'xen', `${role}-${encodeURIComponent(domain)}`)
}

export class KeeperClient {
  readonly #socket: Socket
  #memorySocket: string | null = null
  #state: KeeperState = 'moving'
  #hasState = false
  #isClosed = false
  #wake = new Set<() => void>()
  #counted: Array<(bytes: number) => void> = []

  private constructor (socket: Socket) {
    this.#socket = socket
    socket.on('error', () => {}).on('close', () => {
      this.#isClosed = true
      this.#changed()
    })
    createInterface(socket).on('line', (line) => this.#take(line)).on('error', () => {})
  }

  /** Null when none listens. */
  static async find (path: string): Promise<KeeperClient | null> {
    const socket = connect(path)
    try {
      await once(socket, 'connect')
    } catch {
      return null
    }
    const client = new KeeperClient(socket)
    await client.#waitUntil(() => client.#isGreeted)
    return client.#isGreeted ? client : null
  }

  /** Waits until the one of this transfer listens, or until `isOver` says that it never will. */
  static async wait (path: string, memorySocket: string, isOver: () => boolean): Promise<KeeperClient> {
    for (;;) {
      const client = await KeeperClient.find(path)
      if (client !== null) {
        if (client.#memorySocket === memorySocket) return client
        client.close()
      }
      if (isOver()) throw new BlockferryError('MACHINE', 'xl has ended')
      await sleep(kLookMs)
    }
  }

  /** Resolves when it has one of these states; else with the last one that it had. */
  async until (...wanted: KeeperState[]): Promise<KeeperState> {
    await this.#waitUntil(() => wanted.includes(this.#state) || isFinal(this.#state))
    return this.#state
  }

  /** Resolves when it is gone. */
  async gone (): Promise<void> {
    await this.#waitUntil(() => isFinal(this.#state))
  }

  async #waitUntil (isSo: () => boolean): Promise<void> {
    while (!isSo() && !this.#isClosed) await new Promise<void>((resolve) => this.#wake.add(resolve))
  }

  /** It has said which transfer it is for, and its state. */
  get #isGreeted (): boolean {
    return this.#memorySocket !== null && this.#hasState
  }

  ask (command: KeeperCommand): void {
    this.#socket.write(`${command}\n`)
  }

  /** Bytes of memory that went through. */
  async count (): Promise<number> {
    if (this.#isClosed) return 0
    return await new Promise((resolve) => {
      this.#counted.push(resolve)
      this.#socket.write('count\n')
    })
  }

  close (): void {
    this.#socket.destroy()
  }

  #take (line: string): void {
    const [word, value] = line.split(' ') as [string, string]
    if (word === 'count') this.#counted.shift()?.(Number(value))
    if (word === 'for') this.#memorySocket = line.slice('for '.length)
    if (word === 'state') {
      this.#state = value as KeeperState
      this.#hasState = true
    }
    this.#changed()
  }

  #changed (): void {
    if (this.#isClosed) for (const resolve of this.#counted.splice(0)) resolve(0)
    const woken = [...this.#wake]
    this.#wake.clear()
    for (const wake of woken) wake()
  }
}
