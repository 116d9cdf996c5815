// The model of the tap's throttle: the token bucket and the steps, as the native one does them.
import type { Throttle } from '../../lib/policy/types.js'

export class Gate {
  #throttle: Throttle | null = null
  #balance = 0
  #last = 0
  #writesThisRound = 0

  set (throttle: Throttle | null, now: number): void {
    this.#refill(now)
    this.#throttle = throttle
    if (throttle !== null) this.#balance = Math.min(this.#balance, throttle.burstBytes)
  }

  beginRound (): void { this.#writesThisRound = 0 }

  /** Asks for `writes` writes of `bytes` in all; answers how long they have to wait, ms. The
   * balance may go below zero, and the next ones pay for it. */
  take (now: number, bytes: number, writes: number): number {
    this.#refill(now)
    const throttle = this.#throttle
    if (throttle === null) return 0
    const stepped = this.#stepDelay(writes)
    if (throttle.bytesPerSecond === 0) return stepped
    const owed = Math.max(0, -this.#balance) * 1000 / throttle.bytesPerSecond
    this.#balance -= bytes
    return Math.max(stepped, owed)
  }

  #refill (now: number): void {
    const throttle = this.#throttle
    if (throttle !== null && now > this.#last) {
      const gained = throttle.bytesPerSecond * (now - this.#last) / 1000
      this.#balance = Math.min(throttle.burstBytes, this.#balance + gained)
    }
    this.#last = Math.max(now, this.#last)
  }

  #stepDelay (writes: number): number {
    let delayUs = 0
    for (const step of this.#throttle!.steps) {
      if (this.#writesThisRound >= step.afterWrites) delayUs = step.delayUs
    }
    this.#writesThisRound += writes
    return delayUs * writes / 1000
  }
}
