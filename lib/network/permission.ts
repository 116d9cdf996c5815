import { readFile } from 'node:fs/promises'

import { BlockferryError } from '../base/errors.js'

const kNetAdmin = 12n

/** NO_PERMISSION for who can't change this host's network. */
export async function checkPermission (): Promise<void> {
  const status = await readFile('/proc/self/status', 'utf8')
  const capabilities = BigInt(`0x${/^CapEff:\s*(\w+)$/m.exec(status)?.[1] ?? '0'}`)
  if ((capabilities >> kNetAdmin & 1n) === 1n) return
  throw new BlockferryError(
    'NO_PERMISSION', 'changing the network takes CAP_NET_ADMIN: run it as root')
}
