// What became of the migrations that came here, and whose they are: for sources that lost the link,
// and against peers that use another one's name.
import { BlockferryError } from '../base/errors.js'
import type { Journal } from '../ownership/journal.js'

export interface Outcome { committed: boolean, digests: string[] }

/** So many that came to nothing are remembered, the newest of them. */
const kMaxRefused = 1000

interface Known { outcome: Outcome, peer: string }

export class Outcomes {
  readonly #journal: () => Journal | null
  readonly #committed = new Map<string, Known>()
  readonly #refused = new Map<string, Known>()
  /** Those that are under way, or whose end nobody knows, by peer: what came of an earlier attempt by the
   * same name is no answer. */
  readonly #open = new Map<string, string>()

  constructor (journal: () => Journal | null) {
    this.#journal = journal
  }

  /** It may be committed from here on. */
  begin (migration: string, peer: string): void {
    this.#open.set(migration, peer)
    this.#refused.delete(migration)
  }

  /** What was committed once stays so, whoever uses its name again. */
  remember (migration: string, peer: string, outcome: Outcome): void {
    this.#open.delete(migration)
    if (this.#committed.has(migration)) return
    this.#refused.delete(migration)
    const known = outcome.committed ? this.#committed : this.#refused
    known.set(migration, { outcome, peer })
    if (this.#refused.size > kMaxRefused) this.#refused.delete(this.#refused.keys().next().value!)
  }

  /** Null: it is not known here, or not decided. */
  of (migration: string): Outcome | null {
    return this.#find(migration)?.outcome ?? null
  }

  /** Who has brought it (NativeSession.peer()); null: that is not known. */
  peerOf (migration: string): string | null {
    return this.#find(migration)?.peer ?? null
  }

  /** Whether a peer may offer a migration. REFUSED: it has been committed, went out from here, or is
   * another peer's. */
  check (migration: string, peer: string): void {
    if (this.of(migration)?.committed === true) {
      throw new BlockferryError('REFUSED', 'this migration has been committed', { owner: 'destination' })
    }
    if (this.#journal()?.recordOf(migration)?.role === 'source') {
      throw new BlockferryError('REFUSED', 'this migration is one that went out from here')
    }
    if ((this.peerOf(migration) ?? peer) !== peer) throw anothers()
  }

  #find (migration: string): Partial<Known> | null {
    const peer = this.#open.get(migration)
    if (peer !== undefined) return { peer }
    return this.#committed.get(migration) ?? this.#refused.get(migration) ?? this.#inJournal(migration)
  }

  /** Of a process that came before this one. */
  #inJournal (migration: string): Partial<Known> | null {
    const record = this.#journal()?.recordOf(migration) ?? null
    if (record === null || !['committed', 'refused'].includes(record.state)) return null
    const outcome = { committed: record.state === 'committed', digests: record.digests ?? [] }
    return { outcome, ...(record.peer !== undefined && { peer: record.peer }) }
  }
}

export function anothers (): BlockferryError {
  return new BlockferryError('REFUSED', 'this migration is another peer\'s')
}
