// What a system must have for hosts, links and guests.

import { existsSync } from 'node:fs'
import { tryRun } from './command.js'

/** Why this system can't have them; undefined when it can. */
export async function missingNeed (): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'needs root'
  if (process.arch !== 'x64') return 'needs an x86-64 machine'
  if (!existsSync('/dev/net/tun')) return 'needs TUN devices'
  for (const program of ['ip', 'cc', 'setpriv', 'mkfs.ext4', 'debugfs', 'dpkg-deb', 'qemu-nbd']) {
    if ((await tryRun('which', program)) === undefined) return `needs ${program}`
  }
  const sources = await tryRun('apt-get', 'indextargets', '--format', '$(RELEASE)')
  return /^bookworm$/m.test(sources ?? '') ? undefined : 'needs the packages of Debian bookworm'
}
