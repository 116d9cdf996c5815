// The options of redirect(): defaults, units, and what is nonsense.
import { createHash } from 'node:crypto'
import { resolve } from 'node:path'

import { checkKeys, nonsense, oneOf } from '../../base/check.js'
import { BlockferryError } from '../../base/errors.js'
import type { TlsOptions } from '../../base/tls.js'
import { checkTls } from '../../base/tls.js'
import type { NativeTlsFiles } from '../../native/types.js'
import { kRuntimeFolder } from '../../base/runtime-folder.js'
import { parseTime } from '../../base/units.js'
import type { Addresses } from '../addresses.js'
import { addressesOf, canonical, familyOf, listOf } from '../addresses.js'
import { checkDevice } from '../ip.js'
import type { NameService } from '../dns/name-service.js'
import type { TunnelKind } from '../tunnel/backend.js'
import { kTunnelKinds } from '../tunnel/choose.js'

export interface TunnelOptions {
  /** This host's and the other site's host's address, outside of the tunnel. */
  local: string
  remote: string
  /** 'auto': the first of vxlan, gre and ipip that this kernel has, wireguard before them if there
   * are keys for it; tun, which is TCP through this process, when the kernel has none and `tls` is
   * given. Both sites must come to the same one. Default 'auto'. */
  kind?: TunnelKind | 'auto'
  /** UDP port of vxlan and wireguard, or TCP port where the new site's tun listens, one for each
   * tunnel; the same at both sites. Default: 4789, 51820, 4792. */
  port?: number
  /** Bytes of a packet inside, at least 1280. Default: what fits on the device that leads to the
   * other site; with tun the smaller one of both sites. */
  mtu?: number
  /** The path of this site's private key, and the other's public key. */
  wireguard?: { privateKey: string, peerKey: string }
  /** For tun, which needs it: keys, as for a migration, or false for plain TCP. No other kind is
   * encrypted by it. */
  tls?: TlsOptions | false
}

export interface RedirectOptions {
  /** Which site this is: where the machine's addresses belong, or where it goes. */
  role: 'old' | 'new'
  /** The addresses that the machine has, one of each family at most. */
  address: string | readonly string[]
  /** The device where the machine is, or is going to be, as this host's IP sees it: the bridge
   * that its tap device is on, or the tap device itself. */
  device: string
  tunnel: TunnelOptions
  /** New site: the addresses where new clients find it, one for each family of `address` at most.
   * Default: none, the machine keeps to its old address. */
  newAddress?: string | readonly string[]
  /** New site: 'nat' translates between the new and the old address here; with 'guest' the machine
   * has the new address itself. Default 'nat'. */
  by?: 'nat' | 'guest'
  /** New site: the device where the new addresses belong. Default: the one that leads to the other
   * site. */
  uplink?: string
  /** New site: the routers that the machine knows, one of each family at most; with IPv6 the
   * link-local address. This host answers for them. Needed for IPv6, and when `device` is `uplink`,
   * too. */
  gateway?: string | readonly string[]
  /** At one of the sites: where names are changed. Default: nowhere. */
  dns?: NameService
  /** Old site: how long no connection must have used the old address before the tunnel goes. One
   * that was idle all the time isn't known here before it speaks. Default '15m'. */
  quiet?: number | string
  /** The tunnel goes after that, whatever uses it. Default '24h'. */
  deadline?: number | string
  /** Old site: how often the connections are counted, at least 100 ms. Default '5s'. */
  poll?: number | string
  /** Where the state is kept that outlives this process. Default '/run/blockferry'. */
  runtimeFolder?: string
}

export interface CheckedRedirectOptions {
  role: 'old' | 'new'
  /** What both sites have in common: 24 bits, and as six hexadecimal digits. */
  number: number
  id: string
  addresses: Addresses
  newAddresses: Addresses
  device: string
  tunnel: Required<Pick<TunnelOptions, 'local' | 'remote'>> & {
    kind: TunnelKind | 'auto'
    port: number | null
    mtu: number | null
    wireguard: { privateKey: string, peerKey: string } | null
    /** False: plain TCP. Null: nothing was said. */
    tls: NativeTlsFiles | false | null
  }
  by: 'nat' | 'guest'
  uplink: string | null
  gateways: Addresses
  dns: NameService | null
  quietMs: number
  deadlineMs: number
  pollMs: number
  runtimeFolder: string
}

const kNone: Addresses = { 4: null, 6: null }
const kKeys = [
  'role', 'address', 'device', 'tunnel', 'newAddress', 'by', 'uplink', 'gateway', 'dns', 'quiet',
  'deadline', 'poll', 'runtimeFolder'
]
const kTunnelKeys = ['local', 'remote', 'kind', 'port', 'mtu', 'wireguard', 'tls']
const kNewOnly = ['newAddress', 'by', 'uplink', 'gateway'] as const
const kOldOnly = ['quiet', 'poll'] as const

function within (option: string, value: unknown, least: number, most: number): number {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) {
    return value as number
  }
  throw nonsense(option, `from ${least} to ${most}`)
}

function optional<T, R> (value: T | undefined, check: (value: T) => R): R | null {
  return value === undefined ? null : check(value)
}

function checkTunnel (tunnel: TunnelOptions): CheckedRedirectOptions['tunnel'] {
  checkKeys('tunnel', tunnel, kTunnelKeys)
  const { local, remote, kind = 'auto', port, mtu, wireguard, tls } = tunnel
  if (familyOf('tunnel.local', local) !== familyOf('tunnel.remote', remote)) {
    throw nonsense('tunnel.remote', 'of the same family as tunnel.local')
  }
  if (canonical(local) === canonical(remote)) throw nonsense('tunnel.remote', 'the other site\'s')
  return {
    local: canonical(local),
    remote: canonical(remote),
    kind: oneOf('tunnel.kind', kind, ['auto', ...kTunnelKinds]),
    port: optional(port, (value) => within('tunnel.port', value, 1, 65_535)),
    mtu: optional(mtu, (value) => within('tunnel.mtu', value, 1280, 65_000)),
    wireguard: optional(wireguard, (keys) => {
      checkKeys('tunnel.wireguard', keys, ['privateKey', 'peerKey'])
      const { privateKey, peerKey } = keys
      if (!/^[A-Za-z0-9+/]{43}=$/.test(peerKey)) throw nonsense('tunnel.wireguard.peerKey', 'a key')
      if (typeof privateKey !== 'string') throw nonsense('tunnel.wireguard.privateKey', 'a path')
      return { privateKey, peerKey }
    }),
    tls: tls === undefined && kind !== 'tun' ? null : tunnelTls(tls, remote)
  }
}

/** With absolute paths: another process may go on with it. */
function tunnelTls (tls: TlsOptions | false | undefined, remote: string): NativeTlsFiles | false {
  const files = checkTls(tls, 'tunnel.remote', remote)
  if (typeof files === 'string') return false
  const paths = (['pskKeyFile', 'certificate', 'key', 'ca'] as const)
    .flatMap((name) => files[name] === undefined ? [] : [[name, resolve(files[name])]])
  return { ...files, ...Object.fromEntries(paths) }
}

function checkPoll (value: number | string): number {
  const ms = parseTime('poll', value)
  if (ms < 100) throw nonsense('poll', 'at least 100 ms')
  return ms
}

/** The same at both sites. */
function numberOf (addresses: Addresses, local: string, remote: string): number {
  const common = JSON.stringify([listOf(addresses), [local, remote].sort()])
  return createHash('sha256').update(common).digest().readUIntBE(0, 3) || 1
}

export function checkRedirectOptions (options: RedirectOptions): CheckedRedirectOptions {
  checkKeys('options', options, kKeys)
  const role = oneOf('role', options.role, ['old', 'new'])
  for (const key of role === 'old' ? kNewOnly : kOldOnly) {
    if (options[key] !== undefined) {
      throw new BlockferryError('INVALID', `${key}: belongs to the other site`)
    }
  }
  const tunnel = checkTunnel(options.tunnel)
  const addresses = addressesOf('address', options.address)
  const { newAddress, gateway, uplink, dns, runtimeFolder = kRuntimeFolder } = options
  const newAddresses = newAddress === undefined ? kNone : addressesOf('newAddress', newAddress)
  for (const family of [4, 6] as const) {
    if (newAddresses[family] !== null && addresses[family] === null) {
      throw nonsense('newAddress', `of a family that address has (not IPv${family})`)
    }
    if (newAddresses[family] !== null && newAddresses[family] === addresses[family]) {
      throw nonsense('newAddress', 'another one than address')
    }
  }
  if (dns !== undefined && typeof dns?.switchOver !== 'function') {
    throw nonsense('dns', 'a NameService')
  }
  const number = numberOf(addresses, tunnel.local, tunnel.remote)
  return {
    role,
    number,
    id: number.toString(16).padStart(6, '0'),
    addresses,
    newAddresses,
    device: checkDevice('device', options.device),
    tunnel,
    by: oneOf('by', options.by ?? 'nat', ['nat', 'guest']),
    uplink: optional(uplink, (name) => checkDevice('uplink', name)),
    gateways: gateway === undefined ? kNone : addressesOf('gateway', gateway),
    dns: dns ?? null,
    quietMs: parseTime('quiet', options.quiet ?? '15m'),
    deadlineMs: parseTime('deadline', options.deadline ?? '24h'),
    pollMs: checkPoll(options.poll ?? '5s'),
    runtimeFolder
  }
}
