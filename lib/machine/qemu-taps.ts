// The machine's tap devices, as its host has them.
import { links } from '../network/ip.js'
import type { Qmp } from './qmp.js'

export interface TapDevice {
  name: string
  /** The bridge (or other master) that it is on. */
  bridge: string | null
}

/** Those that QEMU names and that this process can see: not the ones that QEMU was handed already
 * open, and none where QEMU is in another network namespace or there is no iproute2. */
export async function tapDevices (qmp: Qmp): Promise<TapDevice[]> {
  // There is no word of QMP's own for it.
  const text: string = await qmp.run('human-monitor-command', { 'command-line': 'info network' })
  const names = new Set([...text.matchAll(/type=tap,ifname=([^,\s]+)/g)].map(([, name]) => name))
  if (names.size === 0) return []
  const seen = await links().catch(() => [])
  return seen
    .filter(({ ifname }) => names.has(ifname))
    .map(({ ifname, master = null }) => ({ name: ifname, bridge: master }))
}
