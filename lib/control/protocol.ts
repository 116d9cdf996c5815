// The control protocol: how the command line talks to a running serve or receive.
//
// A Unix stream socket, mode 0600. Each line is one JSON object in UTF-8, 1 MiB at most.
//   → {"id": 1, "command": "send", …arguments}
//   ← {"id": 1, "event": {…}}     any number of times: what lib/session/events.ts names; before
//                                 it {"event": "accepted", "migration"}, the id for Selection
//   ← {"id": 1, "result": {…}}    once, at the end; or
//   ← {"id": 1, "error": {"code", "message", "owner", "resumable", "errno"}}
// The client picks the ids; requests of one connection run side by side. A line that is no
// request is answered with an error whose id is null, and the connection is closed.
//
// A client that goes away ends nothing: what it asked for goes on, `status` shows it and `cancel`
// ends it. A migration takes hours, and a terminal that is lost must not cost what was copied.
import type { Progress } from '../session/events.js'
import type { Report } from '../session/report.js'
import type { MigrateOptions } from '../source/options.js'
import type { TlsOptions } from '../base/tls.js'
import type { RedirectFile } from '../network/redirect/file.js'
import type { TapState } from '../tap/tap.js'

export const kMaxLine = 2 ** 20

export interface Commands {
  status: { arguments: object, result: Status }
  send: { arguments: SendRequest, result: { report: Report } }
  receive: { arguments: ReceiveRequest, result: object }
  pause: { arguments: Selection, result: object }
  resume: { arguments: Selection, result: object }
  switchover: { arguments: Selection, result: object }
  set: { arguments: Selection & { budgets: NonNullable<MigrateOptions['budgets']> }, result: object }
  /** Resolves when it is over. Of a listening receive too. `delete`: what was copied is deleted
   * at the destination, where the migration made the file. */
  cancel: { arguments: Selection & { destination?: 'keep' | 'delete' }, result: object }
}

export type CommandName = keyof Commands

/** The running migration that is meant: its id or the beginning of it. Not needed for the only
 * one. */
export interface Selection { migration?: string }

/** Moves disks of the process away. */
export interface SendRequest extends Omit<
  MigrateOptions,
  'disks' | 'destination' | 'switchover' | 'machine' | 'network' | 'journal' | 'signal'
> {
  /** Names; default: all disks of the process. */
  disks?: string[]
  /** 'HOST:PORT' of a receive. */
  to: string
  /** A date in ISO 8601 stands for itself. Default 'auto'. */
  switchover?: string
  /** The machine that writes to the disks, as in --machine. */
  machine?: string
  /** Takes the machine's connections along; what is in a file for --redirect. */
  redirect?: RedirectFile
}

/** Takes disks that have moved away back into the same files. */
export interface ReceiveRequest {
  /** Names; default: all disks of the process. */
  disks?: string[]
  /** 'HOST:PORT'. */
  listen: string
  /** As in ReceiveOptions; the process reads the files. */
  tls?: TlsOptions | false
  /** A migration that fails does not end the listening. Default false. */
  keepListening?: boolean
  /** As in DestinationDisk. Default false. */
  allocate?: boolean
  /** The machine that waits here, as in --machine. */
  machine?: string
  /** As in SendRequest. */
  redirect?: RedirectFile
  /** Default '20s'. */
  linkTimeout?: number | string
}

export interface Status {
  disks: Array<{
    name: string
    source: string
    /** Bytes. */
    size: number
    readOnly: boolean
    /** `open`: owned here; `refusing`: another side owns it; `holding`: a switchover, or the
     * owner is unknown after one that broke. */
    state: TapState
    /** Since the start of the process. */
    writtenBytes: number
  }>
  /** NBD addresses, as in --listen. */
  listen: string[]
  /** Open NBD connections. */
  clients: number
  running: RunningMigration[]
  /** The latest first, 100 at most. */
  past: PastMigration[]
}

export interface RunningMigration {
  migration: string
  direction: 'out' | 'in'
  disks: string[]
  /** Out: where to; in: where it listens. */
  address: string
  startedAt: string
  state: 'starting' | 'listening' | 'receiving' | 'copying' | 'paused' | 'ready' | 'switchover'
  progress: Progress | null
}

export interface PastMigration {
  migration: string
  direction: 'out' | 'in'
  disks: string[]
  address: string
  endedAt: string
  /** Null when it failed. */
  durationMs: number | null
  downtimeMs: number | null
  error: { code: string, message: string, owner: string | null } | null
}
