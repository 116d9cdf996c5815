// vxlan: frames in UDP; in every kernel, carries IPv4 and IPv6 over either, and passes NAT-free
// firewalls as plain UDP. Nothing is encrypted.
import type { TunnelBackend } from './backend.js'

const kPort = 4789
/** The frame's header, vxlan's and UDP's, without the outer IP header. */
const kHeaders = 14 + 8 + 8

export const vxlan: TunnelBackend = {
  kind: 'vxlan',
  frames: true,
  overhead: (underlay) => kHeaders + (underlay === 4 ? 20 : 40),
  refuses: () => null,
  make: ({ number, local, remote, port }, device) => [
    ...['link', 'add', 'name', device],
    ...['type', 'vxlan', 'id', String(number), 'local', local, 'remote', remote],
    ...['dstport', String(port ?? kPort), 'nolearning']
  ],
  settings: () => [],
  // It takes packets of its number from anybody. The number is 12 bytes into UDP's header.
  guard: ({ number, remote, port, underlay }) => (
    `udp dport ${port ?? kPort} @th,96,24 ${number} ` +
    `${underlay === 4 ? 'ip' : 'ip6'} saddr != ${remote} drop`)
}
