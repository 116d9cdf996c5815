// The connections that a receiver refuses, told in moderation: strangers must be able to fill
// neither a log nor a pipe that nobody reads.
import { toBlockferryError } from '../base/errors.js'
import type { NativeRefusal } from '../native/types.js'
import type { Refused } from '../session/events.js'

const kFirstWaitMs = 1000
/** After as long without any the waits begin anew. */
const kLongestWaitMs = 60_000

export class RefusedConnections {
  readonly #tell: (event: Refused) => void
  #total = 0
  #untold: Refused | null = null
  #waitMs = kFirstWaitMs
  #lastAt = -Infinity
  #timer: NodeJS.Timeout | null = null

  constructor (tell: (event: Refused) => void) {
    this.#tell = tell
  }

  /** `count`: how many, of which this was the last. */
  note ({ host, port, error, count }: NativeRefusal): void {
    const now = performance.now()
    if (now - this.#lastAt > kLongestWaitMs) this.#waitMs = kFirstWaitMs
    this.#lastAt = now
    this.#total += count
    this.#untold = {
      event: 'refused', host, port, error: toBlockferryError(error), total: this.#total
    }
    if (this.#timer === null) this.#tellLast()
  }

  #tellLast (): void {
    this.#timer = null
    if (this.#untold === null) return
    this.#tell(this.#untold)
    this.#untold = null
    this.#timer = setTimeout(() => this.#tellLast(), this.#waitMs).unref()
    this.#waitMs = Math.min(2 * this.#waitMs, kLongestWaitMs)
  }

  /** Tells what is left to tell. */
  close (): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#tellLast()
    if (this.#timer !== null) clearTimeout(this.#timer)
  }
}
