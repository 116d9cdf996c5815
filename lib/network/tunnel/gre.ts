// gre: carries IPv4 and IPv6 over either; the key keeps several tunnels between two hosts apart.
// The kernel takes only what comes from the other end. Nothing is encrypted.
import type { TunnelBackend } from './backend.js'

export const gre: TunnelBackend = {
  kind: 'gre',
  frames: false,
  overhead: (underlay) => 8 + (underlay === 4 ? 20 : 40),
  refuses: () => null,
  make: ({ number, local, remote, underlay }, device) => [
    ...['link', 'add', 'name', device],
    ...(underlay === 4 ? ['type', 'gre'] : ['type', 'ip6gre', 'encaplimit', 'none']),
    ...['local', local, 'remote', remote, 'key', String(number), 'ttl', '64']
  ],
  settings: () => [],
  guard: () => null
}
