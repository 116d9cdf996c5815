// What a plan is made of: all that the host was asked before, and the numbers chosen for it.
import type { Change } from '../undoable-changes.js'
import type { Family } from '../ip.js'
import type { CheckedRedirectOptions } from './options.js'
import type { TunnelBackend, TunnelSpec } from '../tunnel/backend.js'

export interface Surroundings {
  options: CheckedRedirectOptions
  spec: TunnelSpec
  backend: TunnelBackend
  /** Of the tunnel's device. */
  mtu: number
  /** The hardware address of `device`. */
  mac: string
  /** New site: where the new addresses belong. */
  uplink: string
  /** Free numbers for routing tables and rules: this one and the next three. */
  base: number
  /** Settings as they are without any redirection, by path; those that the plan may change. */
  settings: ReadonlyMap<string, string>
  /** Routers that are on `device` already, this host or another. */
  present: ReadonlySet<string>
  /** 'ADDRESS DEVICE' for which this host answers already: that is its owner's. */
  proxies: ReadonlySet<string>
}

/** Two groups: what goes with the tunnel, and what stays at the new site for as long as the machine
 * is there. */
export interface Plan {
  /** Before anything is copied: changes nothing for anybody yet. */
  prepare: { tunnel: Change[], stay: Change[] }
  /** In the switchover: as little as can be. */
  switchOver: { tunnel: Change[], stay: Change[] }
  /** New site: stays, too, and takes the place of the tunnel when that has gone. */
  afterwards: Change[]
}

export function familiesOf ({ addresses }: CheckedRedirectOptions): Family[] {
  return ([4, 6] as const).filter((family) => addresses[family] !== null)
}

/** This host answers for an address on a device. */
export function answerFor (
  { settings, proxies }: Surroundings, family: Family, address: string, device: string
): Change[] {
  if (proxies.has(`${address} ${device}`)) return []
  const words = ['neigh', 'add', 'proxy', address, 'dev', device]
  return [
    ...(family === 6 ? setting(settings, 'net/ipv6/conf/all/proxy_ndp', '1') : []),
    { kind: 'ip', family, add: words, remove: words.with(1, 'delete') }
  ]
}

/** A setting that is brought back at the end; none when it is so by its owner's wish. */
export function setting (
  settings: ReadonlyMap<string, string>, path: string, value: string
): Change[] {
  const before = settings.get(path)
  return before === undefined || before === value ? [] : [{ kind: 'sysctl', path, value, before }]
}
