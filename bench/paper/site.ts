// What a contender is here: a guest on host A, its counterpart that waits on host B, and the move.

import type { Guest } from '../../testbed/guests/guest.js'
import type { Hosts } from '../../testbed/hosts/hosts.js'
import type { Figures } from '../support/figures.js'
import type { Setting } from './cases.js'

/** What the contender itself says of a move. */
export interface Moved {
  /** When the side that sends began: ms since 1970. */
  readonly beginMs: number
  /** Why it did not come about; null: it did. */
  readonly reason: string | null
  /** The delay that it imposed on the guest's writes, in ms; null: it doesn't say. */
  readonly throttleMs: number | null
  /** The downtime that it was allowed in the end. */
  readonly allowedMs: number | null
  /** Its own figure for the downtime. */
  readonly reportedDowntimeMs: number | null
  /** Whether it has compared both disks at the pause, and found them equal. */
  readonly reportedEqual: boolean | null
  /** More of its own figures, for the JSON. */
  readonly details?: Figures
}

/** The outcome of a move that was given up. */
export function givenUp (reason: string): Omit<Moved, 'beginMs'> {
  const figures = { allowedMs: null, reportedDowntimeMs: null, reportedEqual: null }
  return { reason, throttleMs: null, ...figures }
}

/** The time now by the machine's clock: ms since 1970, as QEMU has it in its events. */
export function now (): number {
  return performance.timeOrigin + performance.now()
}

export interface Site {
  /** On host A, ready. */
  readonly source: Guest
  /** On host B, waiting. */
  readonly destination: Guest
  /** The files of the disk; the same file when both hosts share it. */
  readonly images: { readonly source: string, readonly destination: string }
  /** Moves the guest; answers when it runs on host B, or when its setting's limit is over. */
  move(): Promise<Moved>
  /** Ends both guests and whatever serves the disks, so that the images are at rest. */
  release(): Promise<void>
  /** Ends and removes everything, also after a failure. */
  close(): Promise<void>
}

export interface Ground {
  readonly hosts: Hosts
  readonly setting: Setting
  /** For disks and sockets. */
  readonly folder: string
}

/** Boots a contender's guests. */
export type Prepare = (ground: Ground) => Promise<Site>
