// What the receiver of all migrations is to one of them.
import type { BlockferryError } from '../base/errors.js'
import type { Journal } from '../ownership/journal.js'
import type { CheckedReceiveOptions } from './options.js'
import type { Outcome } from './outcomes.js'
import type { DestinationDisks } from './disks.js'

export interface SessionContext<Session> {
  readonly options: CheckedReceiveOptions
  readonly journal: Journal | null
  /** From here on it only answers sources that ask. */
  closing (): boolean
  /** Resolves when no other migration holds these disks, and nothing is left of an earlier
   * connection of this one. Rejects with BUSY when that takes too long. */
  freed (wanting: Session, names: readonly string[], machine: boolean): Promise<void>
  /** Throws REFUSED when it may not go by this name: it is another peer's, or settled. */
  claim (session: Session, migration: string): void
  /** What became of a migration; ends it when it is undecided. Null: never heard of it. Rejects with
   * REFUSED when it is undecided and another peer's. */
  outcomeOf (migration: string, peer: string): Promise<Outcome | null>
  started (session: Session): void
  /** `run`: the machine is to run. */
  committed (session: Session, disks: DestinationDisks, run: boolean): void
  /** The source knows that its migration was committed. */
  heard (session: Session): void
  /** Something failed that ends nothing. */
  tell (session: Session, error: BlockferryError): void
  /** It came to nothing, or nobody knows; `isAccepted`: the source had been told to begin. */
  gaveUp (session: Session, isAccepted: boolean, error: BlockferryError): void
  ended (session: Session): void
}
