import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A Unix socket's path of one's own, in a folder that only this user enters. */
export async function privateSocket (): Promise<{ path: string, remove: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'blockferry-'))
  return { path: join(folder, 'memory'), remove: () => rm(folder, { recursive: true, force: true }) }
}
