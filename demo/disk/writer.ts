// A program that keeps writing to the disk, and knows what it was promised.
//
// It writes numbered records of one block into the database file's blocks: most of them into an
// eighth of the file, as programs do. It stands in for a virtual machine: the migration pauses it
// for the switchover and it goes on at the destination.
import { setTimeout as sleep } from 'node:timers/promises'

import type { Client } from './clients.js'
import { openClient } from './clients.js'
import { kBlock } from './image.js'

interface Record { number: number, block: number }

const kEveryMs = 1
/** A moment for the destination to open its export. */
const kConnectMs = 2000

export class Writer {
  readonly #blocks: number[]
  readonly #exportName: string
  /** The last acknowledged record of each block. */
  readonly #acknowledged = new Map<number, Record>()
  #last: Record | null = null
  #lastAt = 0
  #longestGapMs = 0
  #client!: Client
  #pausing = false
  #running: Promise<void> | null = null

  constructor (blocks: number[], exportName: string) {
    this.#blocks = blocks
    this.#exportName = exportName
  }

  /** Records that were acknowledged. */
  get count (): number {
    return this.#last?.number ?? 0
  }

  get last (): Record | null {
    return this.#last
  }

  /** Between two acknowledgements, since it connected. */
  get longestGapMs (): number {
    return this.#longestGapMs
  }

  /** Connects and writes until pause(). */
  async start (socket: string): Promise<void> {
    this.#client = await openClient(socket, this.#exportName)
    this.#lastAt = performance.now()
    this.resume()
  }

  /** Resolves when the record on its way has been acknowledged; then nothing more is written. */
  async pause (): Promise<void> {
    this.#pausing = true
    await this.#running
  }

  resume (): void {
    this.#pausing = false
    this.#running = this.#writeOn()
    this.#running.catch(() => {}) // pause() throws it
  }

  /** Connects to the destination and repeats the last record there: the disk holds it already if
   * nothing was lost, so both disks can still be compared. Answers the milliseconds from the last
   * acknowledgement at the source to this one. */
  async move (socket: string): Promise<number> {
    const before = this.#lastAt
    await this.#client.close()
    const end = performance.now() + kConnectMs
    for (;;) {
      try {
        this.#client = await openClient(socket, this.#exportName)
        await this.#write(this.#last!)
        break
      } catch (error) {
        if (performance.now() > end) throw error
        await this.#client.close()
        await sleep(10)
      }
    }
    this.#longestGapMs = 0
    return this.#lastAt - before
  }

  /** True when the server refuses a write. */
  async isRefused (socket: string): Promise<boolean> {
    const client = await openClient(socket, this.#exportName)
    try {
      await client.write(this.#blocks[0]! * kBlock, contentOf({ number: 0, block: 0 }))
      return false
    } catch {
      return true
    } finally {
      await client.close()
    }
  }

  async close (): Promise<void> {
    this.#pausing = true
    await this.#running?.catch(() => {})
    await this.#client?.close()
  }

  /** What each block must hold. */
  * expected (): Generator<{ offset: number, content: Buffer, number: number }> {
    for (const record of this.#acknowledged.values()) {
      yield { offset: record.block * kBlock, content: contentOf(record), number: record.number }
    }
  }

  async #writeOn (): Promise<void> {
    while (!this.#pausing) {
      await this.#write({ number: this.count + 1, block: this.#pick() })
      await sleep(kEveryMs)
    }
  }

  async #write (record: Record): Promise<void> {
    await this.#client.write(record.block * kBlock, contentOf(record))
    const now = performance.now()
    this.#longestGapMs = Math.max(this.#longestGapMs, now - this.#lastAt)
    this.#lastAt = now
    this.#last = record
    this.#acknowledged.set(record.block, record)
  }

  #pick (): number {
    const share = Math.random() < 0.8 ? 1 / 8 : 1
    return this.#blocks[Math.floor(Math.random() * share * this.#blocks.length)]!
  }
}

function contentOf ({ number, block }: Record): Buffer {
  return Buffer.alloc(kBlock, `record ${number} of the blockferry demo, in block ${block}\n`)
}
