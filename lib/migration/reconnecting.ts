// How long and how often a lost link is tried again.
import type { ErrorCode } from '../errors.js'
import { BlockferryError } from '../errors.js'

const kFirstWaitMs = 250
const kLongestWaitMs = 5000

/** What says that the link is gone, not that something is wrong with a disk or with the peer. BUSY:
 * the destination has not noticed yet. */
const kLinkCodes: readonly ErrorCode[] = ['PEER_GONE', 'TIMEOUT', 'UNREACHABLE', 'CHECKSUM', 'BUSY']

export function isLinkLoss (error: unknown): error is BlockferryError {
  return error instanceof BlockferryError && kLinkCodes.includes(error.code)
}

export class Reconnecting {
  readonly #patienceMs: number
  #lostAt: number | null = null
  #waitMs = kFirstWaitMs

  /** `patienceMs`: from the loss of the link on. */
  constructor (patienceMs: number) {
    this.#patienceMs = patienceMs
  }

  /** The link is back. */
  done (): void {
    this.#lostAt = null
    this.#waitMs = kFirstWaitMs
  }

  /** ms to wait before the next attempt; null when it has been tried for long enough. */
  next (): number | null {
    const now = performance.now()
    this.#lostAt ??= now
    const wait = this.#waitMs
    this.#waitMs = Math.min(2 * wait, kLongestWaitMs)
    return now + wait - this.#lostAt > this.#patienceMs ? null : wait
  }
}
