// A tunnel between the two sites, and the choice among its kinds.
//
// A kind says how its device is made; the rest (addresses, routes, MTU) is the same for all. At
// both ends the device has the same name, which comes from what the two sites have in common.
import { BlockferryError } from '../../errors.js'
import type { NativeTlsFiles } from '../../native.js'
import { execute, failure } from '../command.js'
import type { Change } from '../changes.js'
import type { Family } from '../ip.js'
import type { ConnectionSpec } from './connection.js'
import { gre } from './gre.js'
import { ipip } from './ipip.js'
import { tun } from './tun.js'
import { vxlan } from './vxlan.js'
import { wireguard } from './wireguard.js'

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

const kKinds: Record<TunnelKind, TunnelBackend> = { vxlan, ipip, gre, wireguard, tun }

export const kTunnelKinds = Object.keys(kKinds) as TunnelKind[]

/** Those that need no keys of their own, the best first; what the kernel has before tun. */
const kAutomatic: readonly TunnelKind[] = ['vxlan', 'gre', 'ipip', 'tun']

/**
 * The kind that was asked for, or with 'auto' the first that can do it (wireguard, which encrypts,
 * if there are keys for it). The kernel is asked in a network namespace that goes away at once.
 *
 * Errors: UNSUPPORTED when the kernel lacks it, NO_PERMISSION.
 */
export async function chooseTunnel (
  kind: TunnelKind | 'auto', spec: TunnelSpec, families: readonly Family[]
): Promise<TunnelBackend> {
  if (kind !== 'auto') return await checked(kKinds[kind], spec, families)
  const kinds = spec.wireguard === null ? kAutomatic : ['wireguard' as const, ...kAutomatic]
  const reasons: string[] = []
  for (const name of kinds) {
    try {
      return await checked(kKinds[name], spec, families)
    } catch (error) {
      if ((error as BlockferryError).code !== 'UNSUPPORTED') throw error
      reasons.push((error as Error).message)
    }
  }
  const all = reasons.join('; ')
  throw new BlockferryError('UNSUPPORTED', `no kind of tunnel can be had here: ${all}`)
}

async function checked (
  backend: TunnelBackend, spec: TunnelSpec, families: readonly Family[]
): Promise<TunnelBackend> {
  const refusal = backend.refuses(spec, families)
  if (refusal !== null) throw new BlockferryError('UNSUPPORTED', `${backend.kind}: ${refusal}`)
  const args = ['--net', 'ip', ...backend.make(spec, 'probe')]
  const { code, stderr } = await execute('unshare', args)
  if (code === 0) return backend
  if (/unknown device type|not supported|no such (file|device)/i.test(stderr)) {
    const words = `this kernel has no tunnels of the kind ${backend.kind}`
    throw new BlockferryError('UNSUPPORTED', words)
  }
  throw failure(`a tunnel of the kind ${backend.kind}`, stderr)
}
