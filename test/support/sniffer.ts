// A proxy that keeps all that passes, as an eavesdropper on the wire would.
import type { Socket } from 'node:net'

import type { Address } from '../../testbed/support/tcp-proxy.js'
import { TcpProxy } from '../../testbed/support/tcp-proxy.js'

export class Sniffer extends TcpProxy {
  readonly #chunks: Buffer[] = []

  static async to (target: Address): Promise<Sniffer> {
    return await new Sniffer(target).listen()
  }

  /** Of all connections, both ways. */
  heard (): Buffer {
    return Buffer.concat(this.#chunks)
  }

  protected forward (_side: 'source' | 'destination', from: Socket, to: Socket): void {
    from.on('close', () => to.destroy())
    from.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk)
      if (to.write(chunk)) return
      from.pause()
      to.once('drain', () => from.resume())
    })
  }
}
