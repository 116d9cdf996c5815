// Where benchmarks keep things: a cache that outlives them, and a memory-backed folder per run.

import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { atEnd } from './cleanup.js'

/** The repository: this file runs from dist/testbed/support/. */
export const repository = fileURLToPath(new URL('../../..', import.meta.url))

/** The folder for what is expensive to make; only this user may write there. */
export function cacheFolder (): string {
  const { uid } = userInfo()
  const path = join(tmpdir(), `blockferry-bench-${uid}`)
  mkdirSync(path, { recursive: true, mode: 0o700 })
  if (statSync(path).uid !== uid) throw new Error(`${path} belongs to somebody else`)
  return path
}

/** A new folder in memory, removed at the end. */
export function memoryFolder (): string {
  const path = mkdtempSync('/dev/shm/blockferry-bench-')
  atEnd(() => rmSync(path, { recursive: true, force: true }))
  return path
}
