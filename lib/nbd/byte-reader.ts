import type { Socket } from 'node:net'
import { BlockferryError } from '../base/errors.js'

/** Reads exact numbers of bytes from a socket; one read at a time. */
export class ByteReader {
  #chunks: Buffer[] = []
  #available = 0
  #wanted = 0
  #wake: (() => void) | null = null
  #failure: Error | null = null

  constructor (socket: Socket) {
    socket.on('data', (chunk) => {
      this.#chunks.push(chunk)
      this.#available += chunk.length
      if (this.#available >= this.#wanted) this.#wake?.()
    })
    socket.on('error', (error) => this.#end(error))
    socket.on('close', () => this.#end(null))
  }

  /** Rejects with PEER_GONE when the connection ends before. */
  async read (length: number): Promise<Buffer> {
    while (this.#available < length) {
      if (this.#failure) throw this.#failure
      this.#wanted = length
      await new Promise<void>((resolve) => { this.#wake = resolve })
      this.#wake = null
    }
    return this.#take(length)
  }

  #take (length: number): Buffer {
    this.#available -= length
    const first = this.#chunks[0]
    if (first !== undefined && first.length > length) {
      this.#chunks[0] = first.subarray(length)
      return first.subarray(0, length)
    }
    const parts: Buffer[] = []
    for (let missing = length; missing > 0;) {
      const chunk = this.#chunks.shift() as Buffer
      parts.push(chunk.subarray(0, missing))
      if (chunk.length > missing) this.#chunks.unshift(chunk.subarray(missing))
      missing -= Math.min(missing, chunk.length)
    }
    return parts.length === 1 ? parts[0] as Buffer : Buffer.concat(parts, length)
  }

  #end (cause: Error | null): void {
    this.#failure ??= new BlockferryError(
      'PEER_GONE', `the NBD server ended the connection${cause ? `: ${cause.message}` : ''}`,
      { cause: cause ?? undefined })
    this.#wake?.()
  }
}
