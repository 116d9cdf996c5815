// What a kind of tunnel is: how its device is made; the rest (addresses, routes, MTU) is the same for all. At
// both ends the device has the same name, which comes from what the two sites have in common.
import type { NativeTlsFiles } from '../../native/types.js'
import type { Family } from '../ip.js'
import type { Change } from '../undoable-changes.js'
import type { ConnectionSpec } from './connection.js'

export type TunnelKind = 'vxlan' | 'ipip' | 'gre' | 'wireguard' | 'tun'

export interface TunnelSpec {
  device: string
  /** 24 bits, the same at both ends. */
  number: number
  role: 'old' | 'new'
  /** Of the hosts, outside of the tunnel. */
  local: string
  remote: string
  underlay: Family
  /** UDP port of vxlan and wireguard, TCP port of tun; null: the kind's own. */
  port: number | null
  /** The tunnel's own addresses inside, IPv4 link-local: only for the two hosts to speak. */
  inner: { local: string, remote: string }
  wireguard: { privateKey: string, peerKey: string } | null
  /** Of tun. False: plain TCP; null: nobody has said which. */
  tls: NativeTlsFiles | false | null
}

export interface TunnelBackend {
  kind: TunnelKind
  /** Bytes that it adds to a packet. */
  overhead: (underlay: Family) => number
  /** Why it can't carry packets of these families, or null. */
  refuses: (spec: TunnelSpec, families: readonly Family[]) => string | null
  /** The words of `ip` that make a device of this name. */
  make: (spec: TunnelSpec, device: string) => string[]
  /** What it takes besides the device, once that is there and before it is up. */
  settings: (spec: TunnelSpec) => Change[]
  /** A rule for nftables' input hook that drops what somebody else sends into it; null: the
   * kind has a check of its own. */
  guard: (spec: TunnelSpec) => string | null
  /** It carries frames, so that routes through it need the peer's inner address. */
  frames: boolean
  /** What a process of ours has to carry; without it, the kernel does all. */
  connection?: (spec: TunnelSpec) => ConnectionSpec
}
