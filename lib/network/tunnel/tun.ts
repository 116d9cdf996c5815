// tun: packets over a TCP connection between two processes of ours, for hosts whose kernel has no
// other kind or whose firewalls let nothing else through. The new site listens, the old one
// connects; with keys it is TLS.
//
// The device is a persistent one: when its process is killed it stays, with its routes, and drops
// packets until another process looks after it. A stream can be cut into segments anywhere, so
// packets lose nothing of their size.
import type { TunnelBackend } from './backend.js'

const kPort = 4792

export const tun: TunnelBackend = {
  kind: 'tun',
  frames: false,
  overhead: () => 0,
  refuses: ({ tls }) => tls === null ? 'needs tunnel.tls: keys, or false for plain TCP' : null,
  make: (_spec, device) => ['tuntap', 'add', 'dev', device, 'mode', 'tun'],
  settings: () => [],
  // Who is not the other site is turned away when it connects.
  guard: () => null,
  connection: ({ number, port, role, tls }) => (
    { number, port: port ?? kPort, listens: role === 'new', tls: tls || null })
}
