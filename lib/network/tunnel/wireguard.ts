// wireguard: encrypted and authenticated, over UDP. Needs a key pair on each side; the private key
// stays in its file, which `wg` reads.
import type { TunnelBackend } from './backend.js'

const kPort = 51_820

export const wireguard: TunnelBackend = {
  kind: 'wireguard',
  frames: false,
  overhead: (underlay) => 40 + (underlay === 4 ? 20 : 40),
  refuses: ({ wireguard }) => (
    wireguard === null ? 'needs tunnel.wireguard with privateKey (a file) and peerKey' : null),
  make: (_spec, device) => ['link', 'add', 'name', device, 'type', 'wireguard'],
  settings: ({ device, remote, port, underlay, wireguard }) => {
    const endpoint = `${underlay === 6 ? `[${remote}]` : remote}:${port ?? kPort}`
    const { privateKey, peerKey } = wireguard!
    return [{
      kind: 'wg',
      args: [
        ...['set', device, 'listen-port', String(port ?? kPort), 'private-key', privateKey],
        ...['peer', peerKey, 'endpoint', endpoint, 'allowed-ips', '0.0.0.0/0,::/0']
      ]
    }]
  },
  guard: () => null
}
