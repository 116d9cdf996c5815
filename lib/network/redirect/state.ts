// What exists of a redirection, in a file that outlives the process: written before each step, so
// that whatever is left after a kill can be found and removed.
import { access, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { BlockferryError, toBlockferryError } from '../../base/errors.js'
import { kRuntimeFolder } from '../../base/runtime-folder.js'
import type { Change } from '../undoable-changes.js'
import type { NameServiceState } from '../dns/name-service.js'
import type { ProcessIdentity } from '../../base/process-identity.js'
import type { ConnectionSpec } from '../tunnel/connection.js'

/** preparing, prepared: nothing is redirected yet. switching, switched: packets go (or begin to go)
 * the new way. settled: the tunnel has gone, the new address stays. */
export type Phase = 'preparing' | 'prepared' | 'switching' | 'switched' | 'settled'

export interface RedirectState {
  version: 2
  id: string
  role: 'old' | 'new'
  phase: Phase
  addresses: string[]
  newAddresses: string[]
  tunnel: { kind: string, device: string, local: string, remote: string, mtu: number }
  /** What its caretaker has to carry; null: the kernel does all. */
  connection: ConnectionSpec | null
  inner: { local: string, remote: string }
  /** The process that looks after it; it may be gone. */
  caretaker: ProcessIdentity
  /** ISO dates. */
  preparedAt: string
  switchedAt: string | null
  quietMs: number
  deadlineMs: number
  pollMs: number
  /** All that may exist, in the order in which it was made: what goes with the tunnel, what stays
   * at the new site, and what comes when the tunnel has gone. */
  tunnelChanges: Change[]
  stayChanges: Change[]
  afterChanges: Change[]
  dns: NameServiceState | null
}

const kName = /^redirect-([0-9a-f]{6})-(old|new)\.json$/

function pathOf (folder: string, id: string, role: string): string {
  return join(folder, `redirect-${id}-${role}.json`)
}

/** Replaces the file as a whole; mode 0600. NO_PERMISSION, IO_ERROR. */
export async function writeState (folder: string, state: RedirectState): Promise<void> {
  const path = pathOf(folder, state.id, state.role)
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const file = await open(`${path}.new`, 'w', 0o600)
    try {
      await file.chmod(0o600)
      await file.writeFile(`${JSON.stringify(state, null, 2)}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(`${path}.new`, path)
  } catch (cause) {
    const { code, message, errno } = toBlockferryError(cause)
    throw new BlockferryError(code, `runtimeFolder: ${message}`, { errno, cause })
  }
}

/** Whether the redirection is in the list still. */
export async function hasState (folder: string, id: string, role: string): Promise<boolean> {
  return await access(pathOf(folder, id, role)).then(() => true, () => false)
}

/** Packets go the new way, or did. */
export function isInUse ({ phase }: RedirectState): boolean {
  return phase === 'switching' || phase === 'switched' || phase === 'settled'
}

/** What redirections have changed of the host's settings: what each was before the first. */
export function settingsIn (states: readonly RedirectState[]): Map<string, string> {
  const changes = states.flatMap(({ tunnelChanges, stayChanges }) => (
    [...tunnelChanges, ...stayChanges]))
  return new Map(changes.flatMap((change) => (
    change.kind === 'sysctl' && change.before !== undefined ? [[change.path, change.before]] : [])))
}

/** The settings that others than this one need as they are. */
export async function neededByOthers (
  folder: string, { id, role }: RedirectState
): Promise<Set<string>> {
  const others = (await listRedirects(folder))
    .filter((state) => state.id !== id || state.role !== role)
  return new Set(settingsIn(others).keys())
}

export async function removeState (folder: string, id: string, role: string): Promise<void> {
  await rm(pathOf(folder, id, role), { force: true })
}

/** The redirections of this host that are set up, are being set up, or were left. */
export async function listRedirects (folder: string = kRuntimeFolder): Promise<RedirectState[]> {
  const names = await readdir(folder).catch(() => [] as string[])
  const states: RedirectState[] = []
  for (const name of names.filter((one) => kName.test(one)).sort()) {
    states.push(await readState(join(folder, name)))
  }
  return states
}

async function readState (path: string): Promise<RedirectState> {
  try {
    const state = JSON.parse(await readFile(path, 'utf8')) as RedirectState
    if (state.version === 2) return state
    throw new Error(`version ${String(state.version)} is not known`)
  } catch (cause) {
    const words = `the state in ${path} can't be read: ${(cause as Error).message}`
    throw new BlockferryError('NETWORK', words, { cause })
  }
}

/** One of listRedirects(). NOT_FOUND; INVALID when both roles of it are here and none is named. */
export async function findRedirect (
  folder: string, id: string, role?: string
): Promise<RedirectState> {
  const all = await listRedirects(folder)
  const found = all.filter((state) => state.id === id && state.role === (role ?? state.role))
  if (found.length === 1) return found[0]!
  if (found.length === 0) {
    throw new BlockferryError('NOT_FOUND', `there is no redirection ${id} here`)
  }
  throw new BlockferryError('INVALID', `${id}: both sites of it are here: name the role`)
}
