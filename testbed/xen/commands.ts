// Commands in a host of Xen, through a port of this system that leads to its agent.

import { connect, type Socket } from 'node:net'

export interface Result {
  readonly code: number
  /** All that it printed, errors as well. */
  readonly output: string
}

/** A command that runs; `output` grows. */
export class Running {
  /** When it has ended. Rejects when the host is gone before. */
  readonly ended: Promise<Result>
  readonly #socket: Socket
  #received = ''

  constructor (port: number, command: string) {
    if (command.includes('\0')) throw new Error('a command has no NULs')
    this.#socket = connect(port, '127.0.0.1')
    this.#socket.setEncoding('utf8')
    this.#socket.write(`${command}\0`)
    this.#socket.on('data', (text) => { this.#received += text })
    this.ended = new Promise((resolve, reject) => {
      this.#socket.on('error', reject)
      this.#socket.on('close', () => {
        const at = this.#received.lastIndexOf('\0')
        if (at === -1) reject(new Error(`the host went away during: ${command}\n${this.#received}`))
        else resolve({ code: Number(this.#received.slice(at + 1)), output: this.#received.slice(0, at) })
      })
    })
    this.ended.catch(() => {}) // who waits hears of it
  }

  get output (): string {
    const at = this.#received.lastIndexOf('\0')
    return at === -1 ? this.#received : this.#received.slice(0, at)
  }

  /** Kills it, and what it has started. */
  kill (): void {
    this.#socket.destroy()
  }
}
