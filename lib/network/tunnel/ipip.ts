// ipip: an IP packet in an IP packet. The smallest overhead; carries IPv4 only over IPv4, and over
// IPv6 both. The kernel takes only what comes from the other end. Nothing is encrypted.
import type { TunnelBackend } from './backend.js'

export const ipip: TunnelBackend = {
  kind: 'ipip',
  frames: false,
  overhead: (underlay) => underlay === 4 ? 20 : 40,
  refuses: ({ underlay }, families) => (
    underlay === 4 && families.includes(6) ? 'can\'t carry IPv6 between IPv4 addresses' : null),
  make: ({ local, remote, underlay }, device) => [
    ...['link', 'add', 'name', device],
    ...['type', ...(underlay === 4 ? ['ipip'] : ['ip6tnl', 'mode', 'any', 'encaplimit', 'none'])],
    ...['local', local, 'remote', remote, 'ttl', '64']
  ],
  settings: () => [],
  guard: () => null
}
