// Serves taps over NBD to any client: QEMU, the kernel, libnbd's tools, fio.
import { BlockferryError, toBlockferryError } from '../base/errors.js'
import { isLoopback } from '../base/loopback.js'
import type { NativeAddress, NativeNbdServer } from '../native/types.js'
import { native } from '../native/addon.js'
import type { Tap } from '../tap/tap.js'
import { parseListen } from '../base/units.js'

export interface NbdServerOptions {
  /** One more takes the place of a client that has not chosen its export yet, else it is closed. Default
   * 64. */
  maxConnections?: number
  /** A client must have chosen its export within this time, ms. Default 10,000. */
  handshakeTimeoutMs?: number
  /** Listen on TCP also where other hosts reach it, and let anybody in: NBD is not encrypted here, and
   * whoever connects can read and write the disks. Default false: over TCP only from this host, and
   * only processes of this user's or root's. */
  plain?: boolean
}

export type NbdAddress = NativeAddress

export class NbdServer implements AsyncDisposable {
  readonly #server: NativeNbdServer
  readonly #plain: boolean

  constructor (options: NbdServerOptions = {}) {
    const { plain = false, ...others } = options
    this.#plain = plain
    this.#server = new native.NbdServer({ ...others, sameUser: !plain })
  }

  /** 'unix:PATH', 'tcp:HOST:PORT' or the like as an object; port 0 takes a free one. Resolves to
   * the address it got. Errors: INVALID (not this host's loopback, without `plain`), ADDRESS_IN_USE, NO_PERMISSION,
   * NOT_FOUND. */
  async listen (address: string | NbdAddress): Promise<NbdAddress> {
    const where = typeof address === 'string' ? parseListen('listen', address) : address
    if ('host' in where && !this.#plain && !isLoopback(where.host)) {
      throw new BlockferryError(
        'INVALID', `plain: ${where.host} is not this host's loopback, and NBD is not encrypted`)
    }
    return await this.#server.listen(where).catch((error: unknown) => { throw toBlockferryError(error) })
  }

  /** Offers a tap under its name (or another). BUSY when the name is taken. */
  add (tap: Tap, options: { name?: string, description?: string, readOnly?: boolean } = {}): void {
    const { name = tap.name, description = '', readOnly = tap.readOnly } = options
    try {
      this.#server.addExport(name, tap.native, { description, readOnly })
    } catch (error) {
      throw toBlockferryError(error)
    }
  }

  /** Ends the connections that use the export, when what they have in flight is done. */
  async remove (name: string): Promise<void> {
    await this.#server.removeExport(name)
  }

  stats (): { connections: number, accepted: number, refused: number, protocolErrors: number } {
    return this.#server.stats()
  }

  /** Finishes what is in flight, ends every connection. Idempotent. */
  async close (): Promise<void> {
    await this.#server.close()
  }

  [Symbol.asyncDispose] (): Promise<void> {
    return this.close()
  }
}
