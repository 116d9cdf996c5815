// A proxy whose link can be stalled, or made to flip a bit.
import type { Socket } from 'node:net'

import type { Address } from '../../testbed/support/tcp-proxy.js'
import { TcpProxy } from '../../testbed/support/tcp-proxy.js'

export class Proxy extends TcpProxy {
  #flipAfter = Infinity
  #forwarded = 0

  static async to (target: Address): Promise<Proxy> {
    return await new Proxy(target).listen()
  }

  /** Nothing gets through, nothing is closed. */
  stall (): void {
    for (const socket of this.sockets) socket.pause()
  }

  flow (): void {
    for (const socket of this.sockets) socket.resume()
  }

  /** Flips one bit of what the source sends after so many more bytes. */
  flipAfter (bytes: number): void {
    this.#flipAfter = this.#forwarded + bytes
  }

  /** What the source has sent so far, bytes. */
  get forwarded (): number {
    return this.#forwarded
  }

  protected forward (side: 'source' | 'destination', from: Socket, to: Socket): void {
    from.on('close', () => to.destroy())
    from.on('data', (chunk: Buffer) => {
      if (side === 'source') this.#damage(chunk)
      if (!to.write(chunk)) {
        from.pause()
        to.once('drain', () => from.resume())
      }
    })
  }

  #damage (chunk: Buffer): void {
    const at = this.#flipAfter - this.#forwarded
    if (at >= 0 && at < chunk.length) chunk[at]! ^= 0x10
    this.#forwarded += chunk.length
  }
}
