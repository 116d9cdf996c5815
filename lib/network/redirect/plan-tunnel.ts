// The changes that make the tunnel, the same at both sites. Until something is routed into it, it
// changes nothing.
import type { Change } from '../undoable-changes.js'
import { tunnelTable } from './firewall.js'
import type { Plan, Surroundings } from './plan.js'
import { familiesOf } from './plan.js'

type Role = 'old' | 'new'

/** Locally administered, fixed: so the ends need not ask for each other. */
function macOf (number: number, role: Role): string {
  const own = [number >> 16, (number >> 8) & 0xff, number & 0xff]
  const bytes = [0x02, 0xbf, ...own, role === 'old' ? 1 : 2]
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

function linkLocal (role: Role): string {
  return role === 'old' ? 'fe80::1' : 'fe80::2'
}

/** The tunnel's own IPv4 addresses: 169.254.x.y of its number. */
export function innerOf (number: number, role: Role): { local: string, remote: string } {
  const at = (host: number) => `169.254.${1 + (number >> 8) % 254}.${(number % 63) * 4 + host}`
  return role === 'old' ? { local: at(1), remote: at(2) } : { local: at(2), remote: at(1) }
}

function tunnelChanges ({ options, spec, backend, mtu }: Surroundings): Change[] {
  const { device, number, role, inner } = spec
  const peer = role === 'old' ? 'new' : 'old'
  const ip = (...words: string[]): Change => (
    { kind: 'ip', family: words.some((word) => word.includes('fe80')) ? 6 : 4, add: words })
  const add = backend.make(spec, device)
  const changes: Change[] = [
    { kind: 'ip', family: 4, add, remove: ['link', 'delete', 'dev', device] },
    ip('link', 'set', 'dev', device, 'mtu', String(mtu), 'addrgenmode', 'none'),
    ...backend.frames ? [ip('link', 'set', 'dev', device, 'address', macOf(number, role))] : [],
    ...backend.settings(spec),
    // A router on both: packets of all the world come in here with good reason.
    { kind: 'sysctl', path: `net/ipv4/conf/${device}/rp_filter`, value: '2' },
    { kind: 'sysctl', path: `net/ipv4/conf/${device}/forwarding`, value: '1' },
    ...sixth(device, options),
    ip('link', 'set', 'dev', device, 'up'),
    ip('address', 'add', inner.local, 'peer', inner.remote, 'dev', device)
  ]
  const neighbour = (address: string): Change => ip(
    'neigh', 'replace', address, 'lladdr', macOf(number, peer), 'nud', 'permanent', 'dev', device)
  if (backend.frames) changes.push(neighbour(inner.remote))
  if (backend.frames && familiesOf(options).includes(6)) {
    changes.push(
      ip('address', 'add', `${linkLocal(role)}/64`, 'dev', device, 'nodad'),
      neighbour(linkLocal(peer)))
  }
  return changes
}

/** A host may have IPv6 off where nobody has asked for it. */
function sixth (device: string, options: Surroundings['options']): Change[] {
  if (!familiesOf(options).includes(6)) return []
  return [{ kind: 'sysctl', path: `net/ipv6/conf/${device}/disable_ipv6`, value: '0' }]
}

/** The words of a route into the tunnel. */
export function into ({ spec, backend }: Surroundings, family: 4 | 6): string[] {
  if (!backend.frames) return ['dev', spec.device]
  const peer = family === 4 ? spec.inner.remote : linkLocal(spec.role === 'old' ? 'new' : 'old')
  return ['via', peer, 'dev', spec.device, ...(family === 4 ? ['onlink'] : [])]
}

/** The tunnel, with its table for the firewall. */
export function tunnelPlan (around: Surroundings): Plan {
  return {
    prepare: { tunnel: [...tunnelChanges(around), tunnelTable(around)], stay: [] },
    switchOver: { tunnel: [], stay: [] },
    afterwards: []
  }
}
