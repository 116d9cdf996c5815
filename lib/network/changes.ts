// Changes to this host's network, each with its way back.
//
// They are data, so that a state file can hold them: it is written before they are made, and what
// a killed process left behind is taken back from it. Hence taking back what was never made, or
// twice, is no error; and only what is exactly ours is taken back.
import { readFile, writeFile } from 'node:fs/promises'

import { BlockferryError } from '../errors.js'
import { execute, failure, run } from './command.js'
import type { Family } from './ip.js'

export type Change =
  /** `ip WORDS`; without `remove` it goes with something else (the device that it belongs to). */
  | { kind: 'ip', family: Family, add: string[], remove?: string[] }
  /** A table of nftables that is ours alone; goes whole. */
  | { kind: 'nft', family: 'inet' | 'netdev', table: string, rules: string }
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
    if (first!.kind === 'ip') await ipBatch(first!.family, batch.map((one) => words(one, 'add')))
    else await applyOne(first!)
  }
}

/** Asks nft whether it would take all of our tables: what is wrong shows before the switchover. */
export async function checkTables (changes: readonly Change[]): Promise<void> {
  const tables = changes.filter((change) => change.kind === 'nft')
  if (tables.length === 0) return
  await run('nft', ['-c', '-f', '-'], { input: tables.map(tableText).join('') })
}

function tableText ({ family, table, rules }: Extract<Change, { kind: 'nft' }>): string {
  return `table ${family} ${table} {\n${rules}\n}\n`
}

/** Takes changes back, the last first, and goes on after a failure: the first is thrown at the
 * end. */
export async function remove (changes: readonly Change[]): Promise<void> {
  let failed: unknown = null
  for (const change of [...changes].reverse()) {
    await removeOne(change).catch((error: unknown) => { failed ??= error })
  }
  if (failed !== null) throw failed
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

function words (change: Change, way: 'add'): string {
  return change.kind === 'ip' ? change[way].join(' ') : ''
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
    await run('nft', ['-f', '-'], { input: tableText(change) })
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
