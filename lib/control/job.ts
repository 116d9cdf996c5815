import type { MigrationEvent, ReceiveEvent } from '../session/events.js'
import type { RedirectEvent } from '../network/redirect/events.js'
import type { PastMigration, RunningMigration } from './protocol.js'

/** `accepted` comes first: by this id the migration can be told from others. */
export type HostEvent =
  | MigrationEvent
  | ReceiveEvent
  | { event: 'accepted', migration: string }
  /** Of the redirection that belongs to the migration. */
  | { event: 'redirect', redirect: RedirectEvent }
export type Emit = (event: HostEvent) => void

/** What status shows and cancel ends: a migration out of the process or into it. */
export interface Job {
  readonly id: string
  readonly disks: string[]
  describe (): RunningMigration
  past (): PastMigration
  cancel (destination: 'keep' | 'delete'): Promise<void>
}
