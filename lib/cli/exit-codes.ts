// Exit codes that a shell script can rely on.
import type { BlockferryError } from '../base/errors.js'

export const kExit = {
  done: 0,
  /** Failed; the source owns the disks, or no migration was going on. */
  failed: 1,
  usage: 2,
  /** Something failed, but the destination owns the disks. */
  destinationOwns: 3,
  /** Start neither side before the destination has been asked. */
  ownerUnknown: 4,
  /** Cancelled by a signal. */
  interrupted: 130
} as const

export function exitCodeOf ({ owner }: BlockferryError): number {
  if (owner === 'destination') return kExit.destinationOwns
  if (owner === 'unknown') return kExit.ownerUnknown
  return kExit.failed
}

export const kExitHelp = `Exit codes: 0 done; 1 failed, the source owns the disks; 2 wrong arguments; 3 something failed,
but the destination owns the disks; 4 the owner is unknown; 130 cancelled by a signal.`
