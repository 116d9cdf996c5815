// A pre-shared key for contenders that speak TLS.

import { randomBytes } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { atEnd } from '../../testbed/support/cleanup.js'

/** Whose key it is. */
export const keyIdentity = 'bench'

/** A file with a new key, as nbdkit and blockferry both read it; gone at the end. */
export function makeKeyFile (folder: string): string {
  const path = join(folder, `psk-${process.pid}`)
  writeFileSync(path, `${keyIdentity}:${randomBytes(32).toString('hex')}\n`, { mode: 0o600 })
  atEnd(() => rmSync(path, { force: true }))
  return path
}
