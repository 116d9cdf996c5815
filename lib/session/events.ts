// The events of a migration and of a receiver, in the order in which they can come.
import type { BlockferryError } from '../base/errors.js'
import type { MemoryProgress } from '../machine/machine.js'
import type { Forecast, Infeasible } from '../policy/types.js'
import type { DestinationReport, Report } from './report.js'

export interface Progress {
  event: 'progress'
  elapsedMs: number
  phase: 'bulk' | 'rounds' | 'switchover'
  round: number
  /** 0 to 1, never falling. */
  progress: number
  /** Content that still has to be sent, bytes. */
  remainingBytes: number
  sentBytes: number
  wireBytes: number
  /** Over the last second or so; wire bytes. */
  bytesPerSecond: number
  /** Unique dirty bytes. */
  dirtyBytesPerSecond: number
  /** What the throttle allows the writers, bytes/s; null when they are not throttled. */
  throttle: number | null
  forecast: Forecast
}

/** `pause`: the writers are being stopped; `residual`: the last of the data goes; `commit`: the destination decides. */
export type SwitchoverStep = 'pause' | 'residual' | 'commit'

export type MigrationEvent =
  /** `capacity`: bytes of what the disk lies on, where that is larger; the rest is not sent. */
  | { event: 'started', disks: Array<{ name: string, bytes: number, capacity?: number }> }
  | Progress
  /** The machine's memory, while it is sent; every half second or so. */
  | { event: 'memory' } & MemoryProgress
  /** A pass over the dirty map is over. */
  | { event: 'round', round: number, elapsedMs: number, sentBytes: number, remainingBytes: number }
  | { event: 'throttle', bytesPerSecond: number | null }
  /** A budget can't be met; `feasible` is the figure that could be. It is said again when it
   * changes much. */
  | { event: 'infeasible', infeasible: Infeasible }
  /** The budget is met: with `switchover: 'manual'` call switchover(). */
  | { event: 'ready', forecast: Forecast }
  | { event: 'switchover', step: SwitchoverStep }
  /** The switchover came to nothing and copying goes on (blocks differed, or it took too long). */
  | { event: 'resumed', reason: string }
  /** The link was lost; it is tried again after `waitMs`. The writers go on meanwhile. */
  | { event: 'reconnecting', error: BlockferryError, waitMs: number }
  | { event: 'reconnected' }
  | { event: 'done', report: Report }
  | { event: 'failed', error: BlockferryError }

/** A connection was refused, or went before it had said who it is: no key or a wrong one, another
 * version, no migration's. Of many only the last is told, less and less often while it goes on. */
export interface Refused {
  event: 'refused'
  /** Where it came from. */
  host: string
  port: number
  error: BlockferryError
  /** How many there were since the receiver listens. */
  total: number
}

export type ReceiveEvent =
  | { event: 'listening', host: string, port: number }
  | Refused
  | { event: 'started', migration: string, disks: Array<{ name: string, bytes: number }> }
  /** The disks are owned here from now on. */
  | { event: 'committed', migration: string }
  | { event: 'done', migration: string, report: DestinationReport }
  /** A migration ended before its commit, or an offer was refused; the receiver waits for another.
   * Null: it came to no offer, or to one by a name that is another peer's or settled. */
  | { event: 'failed', migration: string | null, error: BlockferryError }
