import type { BlockferryError } from '../../base/errors.js'

/** Why the tunnel has gone: nobody used the old address any more, the deadline, the other site took
 * its end away, or somebody asked for it. */
export type TunnelEnd = 'unused' | 'deadline' | 'other-site' | 'removed'

export type RedirectEvent =
  | { event: 'prepared', id: string, tunnel: { kind: string, device: string, mtu: number } }
  /** The tunnel works between the two sites. */
  | { event: 'verified', id: string }
  /** Of a tunnel of the kind tun: the connection between the sites is there (null); or it was lost,
   * and is made again. */
  | { event: 'connection', id: string, error: BlockferryError | null }
  /** Packets go the new way. */
  | { event: 'switched', id: string }
  /** The name has the new address; or it has not, and its server is asked again. */
  | { event: 'name', id: string, error: BlockferryError | null }
  /** Old site: how many connections use the old address, when that has changed; null: this host has
   * no way to know. */
  | { event: 'connections', id: string, count: number | null }
  | { event: 'ended', id: string, reason: TunnelEnd }
  /** close(): nobody looks after the tunnel any more. */
  | { event: 'left', id: string }
  /** Something could not be done at the switchover; or at the end: what could not be removed is in
   * the list still, and a name whose server did not answer keeps its low TTL. */
  | { event: 'failed', id: string, error: BlockferryError }
