// After a crash, or a switchover whose outcome was not heard: who owns the disks?
import { askOutcome } from './source/ask-outcome.js'
import type { TlsOptions } from './base/tls.js'
import { checkTls, loadTls } from './base/tls.js'
import type { Owner } from './base/errors.js'
import { parseHostPort } from './base/units.js'
import type { OwnershipRecord, Whereabouts } from './ownership/journal.js'
import { Journal } from './ownership/journal.js'
import { parseToken, tokenOf } from './ownership/token.js'

export interface RecoverOptions {
  /** Ask the destination, for this long at most, ms. 0: don't. Default 10 s. */
  patienceMs?: number
  /** What recover() answered on the other host, carried by hand. */
  token?: string
  /** To ask with: as the migration's own. Whoever can answer in the destination's place decides
   * who starts the machine, so INVALID without a word when that is another host. */
  tls?: TlsOptions | false
}

export interface Recovered {
  migration: string
  /** The role of this side in it. */
  role: 'source' | 'destination'
  /** `size`: bytes, of one that lies on larger storage. */
  disks: Array<{ name: string, epoch: number, size?: number }>
  /** Who owns the disks. Unknown: start neither side. */
  owner: Owner
  /** May this side write to them? */
  here: Whereabouts
  /** What to do, in words. */
  advice: string
  /** For recover() on the other host; null when this side can't tell. */
  token: string | null
}

/**
 * Settles what a crash has left in a journal, and says who owns each disk that ever moved; both
 * are durable when it resolves. The process that wrote the journal must have ended.
 *
 * Errors: BUSY (it has not), JOURNAL, INVALID (the token, `tls`), and those of files.
 */
export async function recover (journal: string, options: RecoverOptions = {}): Promise<Recovered[]> {
  const token = options.token === undefined ? null : parseToken(options.token)
  await using opened = await Journal.open(journal)
  for (const record of opened.unknown()) {
    const committed = await outcomeOf(record, options, token)
    if (committed !== null) await opened.recordOutcome(record, committed ? 'moved' : 'kept')
  }
  return lastMigrations(opened).map(describe)
}

/** Whether the destination has committed; null when that can't be told here. */
async function outcomeOf (
  record: OwnershipRecord, { patienceMs = 10_000, tls }: RecoverOptions,
  token: ReturnType<typeof parseToken> | null
): Promise<boolean | null> {
  if (token?.migration === record.migration) return token.committed
  if (patienceMs === 0 || record.peer === undefined) return null
  const { host, port } = parseHostPort('peer', record.peer)
  const loaded = await loadTls(checkTls(tls, 'the destination', host), { connects: true })
  try {
    const { committed } = await askOutcome({
      host,
      port,
      tls: loaded,
      migration: record.migration,
      linkTimeoutMs: Math.max(1000, patienceMs / 2),
      patienceMs
    })
    return committed
  } catch {
    return null
  }
}

/** The last one of each disk. */
function lastMigrations (journal: Journal): OwnershipRecord[] {
  const records = new Set<OwnershipRecord>()
  for (const name of journal.names()) records.add(journal.ownershipOf(name)!.record)
  return [...records]
}

function describe ({ migration, role, state, disks, peer }: OwnershipRecord): Recovered {
  const committed = state === 'moved' || state === 'committed'
  const settled = state !== 'committing'
  const owner = settled ? (committed ? 'destination' : 'source') : 'unknown'
  const here = !settled ? 'unknown' : (owner === role ? 'here' : 'elsewhere')
  return {
    migration,
    role,
    disks,
    owner,
    here,
    advice: adviceFor(here, role, peer),
    token: settled ? tokenOf({ migration, committed }) : null
  }
}

function adviceFor (here: Whereabouts, role: string, peer = 'the destination'): string {
  const other = role === 'source' ? 'the destination' : 'the source'
  if (here === 'here') return 'start the machine here, and only here'
  if (here === 'elsewhere') return `the machine belongs to ${other}: do not start it here`
  return `start it nowhere: run recover on ${peer} and come back with its token, or let this side reach it`
}
