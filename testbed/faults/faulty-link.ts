// A link on which anything may go wrong: it stalls, loses one direction, carries a byte at a time,
// collapses to a trickle, damages a bit, ends connections as a reset does. heal() ends all of it.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Address } from '../support/tcp-proxy.js'
import { TcpProxy } from '../support/tcp-proxy.js'

export type Side = 'source' | 'destination'

export class FaultyLink extends TcpProxy {
  /** Bytes that came from each side. */
  readonly carried = { source: 0, destination: 0 }
  #appointments: Array<{ at: number, keep: () => void }> = []
  #open = Promise.resolve()
  #reopen: () => void = () => {}
  #lost: Side | null = null
  #singly = 0
  #bytesPerSecond = Infinity
  #damaged: Side | null = null
  /** ms that each connection's bytes take, drawn when it is made. */
  lag: () => number = () => 0

  static async to (target: Address): Promise<FaultyLink> {
    return await new FaultyLink(target).listen()
  }

  /** Calls back when so many more bytes have come, both ways together. */
  after (bytes: number, keep: () => void): void {
    this.#appointments.push({ at: this.#total + bytes, keep })
  }

  /** Ends every connection as a host does that has forgotten them. Where the end was said already Node
   * fails to reset (EINVAL), and then never closes the descriptor. */
  reset (): void {
    for (const socket of this.sockets) {
      if (socket.writableEnded) socket.destroy()
      else socket.resetAndDestroy()
    }
  }

  /** Nothing goes on, nothing is closed. */
  stall (): void {
    this.#reopen()
    this.#open = new Promise((resolve) => { this.#reopen = resolve })
  }

  /** What this side sends is lost, and nobody hears of it. */
  lose (side: Side): void {
    this.#lost = side
  }

  /** So many bytes go one by one. */
  carrySingly (bytes: number): void {
    this.#singly = bytes
  }

  collapse (bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond
  }

  /** Flips a bit of what this side sends next. */
  damage (side: Side): void {
    this.#damaged = side
  }

  heal (): void {
    // Connections with a hole in them don't go on.
    if (this.#lost !== null) this.reset()
    this.#lost = this.#damaged = null
    this.#singly = 0
    this.#bytesPerSecond = Infinity
    this.#reopen()
    this.restore()
  }

  get #total (): number {
    return this.carried.source + this.carried.destination
  }

  protected forward (side: Side, from: Socket, to: Socket): void {
    void this.#pump(side, from, to)
  }

  async #pump (side: Side, from: Socket, to: Socket): Promise<void> {
    const lag = this.lag()
    try {
      for await (const chunk of from) {
        await this.#open
        if (lag > 0) await sleep(lag)
        await this.#carry(side, chunk, to)
      }
    } catch {
      // It has ended, which the other end learns now.
    }
    to.destroySoon()
  }

  async #carry (side: Side, chunk: Buffer, to: Socket): Promise<void> {
    this.carried[side] += chunk.length
    const due = this.#appointments.filter(({ at }) => at <= this.#total)
    this.#appointments = this.#appointments.filter((one) => !due.includes(one))
    for (const { keep } of due) keep()
    await this.#open
    if (this.#lost === side) return
    if (this.#damaged === side) {
      this.#damaged = null
      chunk[chunk.length >> 1]! ^= 4
    }
    const singly = Math.min(this.#singly, chunk.length)
    this.#singly -= singly
    for (let at = 0; at < singly; at++) {
      to.write(chunk.subarray(at, at + 1))
      await new Promise((resolve) => setImmediate(resolve))
    }
    if (this.#bytesPerSecond < Infinity) await sleep(chunk.length / this.#bytesPerSecond * 1000)
    if (!to.write(chunk.subarray(singly))) await Promise.race([once(to, 'drain'), once(to, 'close')])
  }
}
