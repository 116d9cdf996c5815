// What counts as a lost link, and how often it is tried again (how long: the option `reconnect`).
import type { ErrorCode } from '../base/errors.js'
import { BlockferryError } from '../base/errors.js'

const kFirstWaitMs = 250
const kLongestWaitMs = 5000
/** A link that lasted so long was back, and its next loss is another one. */
const kBackMs = 10_000

/** What says that the link is gone, not that something is wrong with a disk or with the peer. BUSY:
 * the destination has not noticed yet. */
const kLinkCodes: readonly ErrorCode[] = ['PEER_GONE', 'TIMEOUT', 'UNREACHABLE', 'CHECKSUM', 'BUSY']

export function isLinkLoss (error: unknown): error is BlockferryError {
  return error instanceof BlockferryError && kLinkCodes.includes(error.code)
}

export class Reconnecting {
  readonly #patienceMs: number
  #lostAt: number | null = null
  #connectedAt = -Infinity
  #waitMs = kFirstWaitMs

  /** `patienceMs`: from the loss of the link on. */
  constructor (patienceMs: number) {
    this.#patienceMs = patienceMs
  }

  /** There is a link, for now: one that breaks at the same place each time is none. */
  connected (): void {
    this.#connectedAt = performance.now()
  }

  /** ms to wait before the next attempt; null when it has been tried for long enough. */
  next (): number | null {
    const now = performance.now()
    if (this.#lostAt === null || this.#isBack(now)) {
      this.#lostAt = now
      this.#waitMs = kFirstWaitMs
    }
    const wait = this.#waitMs
    this.#waitMs = Math.min(2 * wait, kLongestWaitMs)
    return now + wait - this.#lostAt > this.#patienceMs ? null : wait
  }

  #isBack (now: number): boolean {
    return this.#connectedAt > this.#lostAt! && now - this.#connectedAt > kBackMs
  }
}
