// A machine that exists only in this process: memory that its "program" writes to. It shows what a
// MemoryMachine has to do, and stands in for a hypervisor in tests.
//
// On the socket: records of a page's number (4 bytes, little endian) and its content.
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { once } from 'node:events'

import type {
  MachineDescription, MemoryMachine, MemoryProgress, PauseLimits
} from './machine.js'

const kPage = 4096
const kRecord = 4 + kPage
/** Pages that are handed over in one piece. */
const kBatch = 64

export class InMemoryMachine implements MemoryMachine {
  readonly memory: Buffer
  #runs: boolean
  #stopped = false
  readonly #dirty = new Set<number>()
  #passes = 0
  #allowed: PauseLimits = { downtimeMs: 0, bytesPerSecond: 0 }
  #socket: Socket | null = null
  #server: Server | null = null
  #arrival: Promise<void> | null = null
  #paused!: () => void
  readonly #untilPaused = new Promise<void>((resolve) => { this.#paused = resolve })

  /** `size` in bytes, a multiple of 4096. One that waits for memory does not run. */
  constructor (size: number, { running = true } = {}) {
    this.memory = Buffer.alloc(size)
    this.#runs = running
  }

  get running (): boolean {
    return !this.#stopped
  }

  /** Its program makes progress now. */
  get runs (): boolean {
    return this.#runs
  }

  /** As its user would, not the migration. */
  stop (): void {
    this.#stopped = true
    this.#runs = false
  }

  /** What its program does: false when it does not run. */
  write (page: number, content: Uint8Array): boolean {
    if (!this.#runs) return false
    this.memory.set(content, page * kPage)
    this.#dirty.add(page)
    return true
  }

  async prepare (): Promise<MachineDescription> {
    return { kind: 'memory', memory: this.memory.length }
  }

  async sendMemory (socket: string): Promise<void> {
    this.#socket = connect(socket)
    await once(this.#socket, 'connect')
    this.#socket.on('error', () => {})
    for (let page = 0; page < this.memory.length / kPage; page++) this.#dirty.add(page)
    void this.#send()
  }

  async memoryProgress (): Promise<MemoryProgress> {
    return {
      remaining: this.#dirty.size * kPage,
      size: this.memory.length,
      dirtyRate: null,
      passes: this.#passes,
      throttle: 0
    }
  }

  async allowPause (limits: PauseLimits): Promise<void> {
    this.#allowed = limits
  }

  async untilPaused (): Promise<void> {
    await this.#untilPaused
  }

  async finishMemory (): Promise<void> {
    while (this.#dirty.size > 0) await this.#sendBatch()
    this.#socket!.end()
  }

  async resume (): Promise<void> {
    this.#socket?.destroy()
    this.#runs = !this.#stopped
  }

  async expect ({ kind, memory }: MachineDescription): Promise<void> {
    if (kind !== 'memory') throw new Error(`a machine of kind ${kind} can't go on here`)
    if (memory !== this.memory.length) throw new Error(`the memory sizes differ: ${memory}, ${this.memory.length}`)
  }

  async receiveMemory (path: string): Promise<void> {
    const server = this.#server = createServer()
    server.listen(path)
    await once(server, 'listening')
    this.#arrival = once(server, 'connection').then(([socket]) => this.#receive(socket))
    this.#arrival.catch(() => {})
  }

  async untilArrived (): Promise<void> {
    await this.#arrival
  }

  async close (): Promise<void> {
    this.#socket?.destroy()
    this.#server?.close()
  }

  /** Sends what is dirty until the rest may wait for the pause. */
  async #send (): Promise<void> {
    while (!this.#socket!.destroyed) {
      if (this.#dirty.size === 0 || this.#restFits()) this.#passes++
      if (this.#restFits()) {
        this.#runs = false
        return this.#paused()
      }
      if (this.#dirty.size > 0) await this.#sendBatch()
      else await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  #restFits (): boolean {
    const { downtimeMs, bytesPerSecond } = this.#allowed
    return downtimeMs > 0 && this.#dirty.size * kPage <= bytesPerSecond * downtimeMs / 1000
  }

  async #sendBatch (): Promise<void> {
    const records: Buffer[] = []
    for (const page of this.#dirty) {
      this.#dirty.delete(page)
      const number = Buffer.alloc(4)
      number.writeUInt32LE(page)
      records.push(number, Buffer.from(this.memory.subarray(page * kPage, (page + 1) * kPage)))
      if (records.length === 2 * kBatch) break
    }
    if (!this.#socket!.write(Buffer.concat(records))) await this.#untilDrained()
  }

  async #untilDrained (): Promise<void> {
    const over = new AbortController()
    const options = { signal: over.signal }
    const socket = this.#socket!
    await Promise.race([once(socket, 'drain', options), once(socket, 'close', options)]).catch(() => {})
    over.abort()
  }

  async #receive (socket: Socket): Promise<void> {
    let rest = Buffer.alloc(0)
    for await (const chunk of socket) {
      rest = Buffer.concat([rest, chunk])
      let at = 0
      for (; rest.length - at >= kRecord; at += kRecord) {
        rest.copy(this.memory, rest.readUInt32LE(at) * kPage, at + 4, at + kRecord)
      }
      rest = rest.subarray(at)
    }
    if (rest.length > 0) throw new Error('the memory ended in the middle of a page')
  }
}
