// What the receiver of all migrations is to one of them.
import type { BlockferryError } from '../errors.js'
import type { Journal } from '../ownership/journal.js'
import type { Incoming } from './incoming.js'
import type { CheckedReceiveOptions } from './receive-options.js'
import type { Outcome } from './outcomes.js'
import type { TargetDisks } from './target-disks.js'

export interface IncomingHost {
  readonly options: CheckedReceiveOptions
  readonly journal: Journal | null
  /** From here on it only answers sources that ask. */
  closing (): boolean
  /** Resolves when no other migration holds these disks, and nothing is left of an earlier
   * connection of this one. Rejects with BUSY when that takes too long. */
  freed (wanting: Incoming, names: readonly string[], machine: boolean): Promise<void>
  /** Throws REFUSED when it may not go by this name: it is another peer's, or settled. */
  claim (incoming: Incoming, migration: string): void
  /** What became of a migration; ends it when it is undecided. Null: never heard of it. Rejects with
   * REFUSED when it is undecided and another peer's. */
  outcomeOf (migration: string, peer: string): Promise<Outcome | null>
  started (incoming: Incoming): void
  /** `run`: the machine is to run. */
  committed (incoming: Incoming, disks: TargetDisks, run: boolean): void
  /** The source knows that its migration was committed. */
  heard (incoming: Incoming): void
  failed (incoming: Incoming, error: BlockferryError): void
  ended (incoming: Incoming): void
}
