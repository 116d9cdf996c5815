// The connection of a tunnel of the kind tun: carried by native threads for as long as this process
// looks after the redirection, and made again whenever it is lost.
//
// It is not the migration's: the tunnel lives on when that is over.
import type { BlockferryError } from '../../base/errors.js'
import { toBlockferryError } from '../../base/errors.js'
import { loadTls } from '../../base/tls.js'
import type { NativeTlsFiles, NativeTunnel } from '../../native/types.js'
import { native } from '../../native/addon.js'

/** What it takes besides the device, as the state file holds it: paths of keys, not keys. */
export interface ConnectionSpec {
  /** The same at both ends. */
  number: number
  /** TCP, where the new site listens. */
  port: number
  listens: boolean
  /** Null: plain TCP. */
  tls: NativeTlsFiles | null
}

/** How long the other site has to come, or to answer. */
const kTimeoutMs = 10_000

export class TunnelConnection {
  readonly #native: NativeTunnel

  /**
   * Takes the device, which must be there. `tell`: the connection has come (null), or gone.
   *
   * Errors: BUSY when another process has the device, ADDRESS_IN_USE for the port, and those of
   * loadTls().
   */
  static async open (
    tunnel: { device: string, local: string, remote: string, mtu: number },
    { tls, ...spec }: ConnectionSpec,
    tell: (error: BlockferryError | null) => void
  ): Promise<TunnelConnection> {
    const keys = await loadTls(tls, { connects: !spec.listens })
    const { device, local, remote, mtu } = tunnel
    const options = { device, local, remote, mtu, ...spec, tls: keys }
    return new TunnelConnection(new native.Tunnel(options, (_event, error) => {
      tell(error === null ? null : toBlockferryError(error))
    }))
  }

  private constructor (own: NativeTunnel) {
    this.#native = own
  }

  /** Resolves when it is there. UNAUTHORIZED, TLS, UNREACHABLE and the like say why it is not. */
  async connected (): Promise<void> {
    await this.#native.connected(kTimeoutMs).catch((error: unknown) => {
      throw toBlockferryError(error)
    })
  }

  /** Lets go of the device. */
  async close (): Promise<void> {
    await this.#native.close()
  }
}
