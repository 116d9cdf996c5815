// Changes to this host's network, each with its way back.
//
// They are data, so that a state file can hold them: it is written before they are made, and what
// a killed process left behind is taken back from it. Hence taking back what was never made, or
// twice, is no error; and only what is exactly ours is taken back.
import { readFile, writeFile } from 'node:fs/promises'

import { BlockferryError } from '../base/errors.js'
import { execute } from '../base/external-tool.js'
import { failure, run } from './command.js'
import type { Family } from './ip.js'
import { portsOf } from './ip.js'

export type Change =
  /** `ip WORDS`; without `remove` it goes with something else (the device that it belongs to). */
  | { kind: 'ip', family: Family, add: string[], remove?: string[] }
  /** A table of nftables that is ours alone; goes whole. With `bridge`, its rules have in `$ports`
   * the ports that this bridge has when the change is made; of another device, itself. */
  | { kind: 'nft', family: 'inet' | 'netdev', table: string, rules: string, bridge?: string }
  /** A setting below /proc/sys. `before` is what it was; without it, the device is ours and the
   * setting goes with it. */
  | { kind: 'sysctl', path: string, value: string, before?: string }
  /** wireguard's own settings: they go with the device. The key stays in its file. */
  | { kind: 'wg', args: string[] }

const kAbsent = new RegExp([
  'Cannot find device', 'No such (process|file|device)', 'Cannot assign requested address',
  'does not exist', 'not found', 'Invalid argument'
].join('|'), 'i')

/** Makes the changes in order; at the first that fails the rest is not made. NETWORK,
 * NO_PERMISSION. */
export async function apply (changes: readonly Change[]): Promise<void> {
  for (const batch of batches(changes)) {
    const [first] = batch
    if (first!.kind === 'ip') await ipBatch(first!.family, batch.map(words))
    else await applyOne(first!)
  }
}

/** Makes what has not been made yet of changes that were begun; what can't be made doesn't keep the
 * rest from being made: the first error is thrown at the end. */
export async function complete (changes: readonly Change[]): Promise<void> {
  await each(changes, async (change) => {
    await apply([change]).catch((error: Error) => {
      if (!isTaken(error)) throw error
    })
  })
}

/** It is there already. */
export function isTaken (error: unknown): boolean {
  return error instanceof Error && /File exists|already assigned|resource busy/i.test(error.message)
}

/** Asks nft whether it would take all of our tables: what is wrong shows before the switchover. */
export async function checkTables (changes: readonly Change[]): Promise<void> {
  for (const change of changes) {
    if (change.kind !== 'nft') continue
    await run('nft', ['-c', '-f', '-'], { input: await tableText(change) })
  }
}

/** Replaces what there is of it. */
async function tableText (change: Extract<Change, { kind: 'nft' }>): Promise<string> {
  const { family, table, rules, bridge } = change
  const ports = bridge === undefined ? [] : await portsOf(bridge)
  const list = `{ ${ports.map((port) => `"${port}"`).join(', ')} }`
  return [
    `table ${family} ${table}`, `delete table ${family} ${table}`,
    `table ${family} ${table} {`, rules.replace('$ports', list), '}', ''
  ].join('\n')
}

/** Takes changes back, the last first, and goes on after a failure: the first is thrown at the end.
 * `needed`: paths of settings that others need as they are. */
export async function remove (
  changes: readonly Change[], needed: ReadonlySet<string> = new Set()
): Promise<void> {
  await each(changes.toReversed(), async (change) => {
    if (change.kind !== 'sysctl' || !needed.has(change.path)) await removeOne(change)
  })
}

async function each (
  changes: readonly Change[], action: (change: Change) => Promise<void>
): Promise<void> {
  const errors: unknown[] = []
  for (const change of changes) {
    await action(change).catch((error: unknown) => { errors.push(error) })
  }
  if (errors.length > 0) throw errors[0]
}

/** Runs of `ip` calls of one family go as one: that is much quicker. */
function batches (changes: readonly Change[]): Change[][] {
  const all: Change[][] = []
  for (const change of changes) {
    const last = all.at(-1)?.[0]
    const fits = change.kind === 'ip' && last?.kind === 'ip' && last.family === change.family
    if (fits) all.at(-1)!.push(change)
    else all.push([change])
  }
  return all
}

function words (change: Change): string {
  return change.kind === 'ip' ? change.add.join(' ') : ''
}

async function ipBatch (family: Family, lines: string[]): Promise<void> {
  const input = `${lines.join('\n')}\n`
  const { code, stderr } = await execute('ip', [`-${family}`, '-batch', '-'], { input })
  if (code === 0) return
  const line = Number(/Command failed -:(\d+)/.exec(stderr)?.[1] ?? 1)
  throw failure(`ip ${lines[line - 1]}`, stderr.replace(/Command failed -:\d+\s*/, ''))
}

async function applyOne (change: Change): Promise<void> {
  if (change.kind === 'nft') {
    await run('nft', ['-f', '-'], { input: await tableText(change) })
  } else if (change.kind === 'sysctl') {
    await writeSetting(change.path, change.value)
  } else if (change.kind === 'wg') {
    await run('wg', change.args)
  }
}

async function removeOne (change: Change): Promise<void> {
  if (change.kind === 'ip') {
    if (change.remove !== undefined) await tolerant('ip', [`-${change.family}`, ...change.remove])
  } else if (change.kind === 'nft') {
    await tolerant('nft', ['delete', 'table', change.family, change.table])
  } else if (change.kind === 'sysctl' && change.before !== undefined) {
    // Somebody else's newer value stays.
    const now = await readSetting(change.path)
    if (now === change.value) await writeSetting(change.path, change.before)
  }
}

async function tolerant (program: string, args: string[]): Promise<void> {
  const { code, stderr } = await execute(program, args)
  if (code !== 0 && !kAbsent.test(stderr)) throw failure(`${program} ${args.join(' ')}`, stderr)
}

/** A setting like 'net/ipv4/ip_forward'; null when there is none. */
export async function readSetting (path: string): Promise<string | null> {
  return await readFile(`/proc/sys/${path}`, 'utf8').then((text) => text.trim(), () => null)
}

async function writeSetting (path: string, value: string): Promise<void> {
  try {
    await writeFile(`/proc/sys/${path}`, value)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const denied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
    const words = `the setting ${path} can't be changed: ${code}`
    throw new BlockferryError(denied ? 'NO_PERMISSION' : 'NETWORK', words, { cause })
  }
}
