// Slows the writers of a 'dm' tap where no cgroup can: dm-delay in the disk's way makes each write take
// longer. How much longer makes which rate depends on how many writes wait at a time, which nobody
// tells: so the delay follows the rate that it has made.
import type { BlockferryError} from '../../base/errors.js'
import { toBlockferryError } from '../../base/errors.js'
import type { NativeTap } from '../../native/types.js'
import type { Slowing, WriterLimits } from './slowing.js'

const kLeastMs = 1
/** Without the least delay writers may be many times as fast: it goes when they write only this share
 * of their limit. */
const kIdle = 0.1
/** No write waits longer, whatever the limit. */
const kMostMs = 2000
/** The rate is looked at over so many delays, from which on it tells: what was delayed at the same time
 * goes on at the same time. */
const kLookDelays = 6
const kLookMs = { least: 250, most: 3000 }
/** One step makes a delay so many times as long at most, or as short. */
const kMostStep = 4
/** A rate between these shares of the limit is left as it is: with each change all that is delayed goes
 * on at once. The next delay aims between. */
const kEnough = 0.6
const kTooMuch = 1.1
const kAim = 0.9

/** The next delay, ms, after `ms` made the writers write `share` of their limit. */
export function nextDelay (ms: number, share: number): number {
  if (share <= kTooMuch && share >= kEnough) return ms
  const factor = Math.min(kMostStep, Math.max(1 / kMostStep, share / kAim))
  if (share > kTooMuch) return Math.min(kMostMs, Math.ceil(Math.max(kLeastMs, ms) * factor))
  const less = Math.floor(ms * factor)
  if (less >= kLeastMs) return less
  return share < kIdle ? 0 : Math.min(ms, kLeastMs)
}

interface Written { at: number, bytes: number, writes: number }

export class WriteDelay implements Slowing {
  readonly #tap: NativeTap
  #limits: Required<WriterLimits> = { bytesPerSecond: 0, writesPerSecond: 0 }
  #ms = 0
  #seen: Written
  #timer: NodeJS.Timeout | null = null
  #failure: BlockferryError | null = null
  #put: Promise<void> = Promise.resolve()
  #delayMs = 0
  #counted = 0

  constructor (tap: NativeTap) {
    this.#tap = tap
    this.#seen = this.#written()
  }

  /** Throws what has kept an earlier one from being put into effect. */
  set ({ bytesPerSecond = 0, writesPerSecond = 0 }: WriterLimits): void {
    if (bytesPerSecond === 0 && writesPerSecond === 0) return void this.lift()
    if (this.#failure !== null) throw this.#failure
    this.#limits = { bytesPerSecond, writesPerSecond }
    if (this.#timer !== null) return
    this.#seen = this.#written()
    this.#lookLater()
  }

  async lift (): Promise<void> {
    if (this.#timer !== null) {
      clearTimeout(this.#timer)
      this.#timer = null
      this.#failure = null
      void this.#delay(0)
    }
    await this.#put
  }

  delayMs (_now: number, _bytes: number, writes: number): number {
    this.#count(writes)
    return this.#delayMs
  }

  /** What was written until now was delayed as it is now. */
  #count (writes: number): void {
    this.#delayMs += (writes - this.#counted) * this.#ms
    this.#counted = writes
  }

  #written (): Written {
    const { writtenBytes, writes } = this.#tap.stats()
    return { at: performance.now(), bytes: writtenBytes, writes }
  }

  #lookLater (): void {
    const ms = Math.max(kLookMs.least, Math.min(kLookMs.most, kLookDelays * this.#ms))
    this.#timer = setTimeout(() => { void this.#look() }, ms).unref()
  }

  async #look (): Promise<void> {
    const timer = this.#timer
    const [now, before] = [this.#written(), this.#ms]
    const ms = nextDelay(before, this.#shareOf(now))
    // Also when it is the same: a switchover that was tried has lifted it.
    await this.#delay(ms)
    if (this.#timer !== timer) return // lifted meanwhile, and perhaps set again
    this.#seen = ms === before ? now : this.#written()
    this.#lookLater()
  }

  /** Of what the limit allowed since it was looked at last. */
  #shareOf (now: Written): number {
    const { bytesPerSecond, writesPerSecond } = this.#limits
    const seconds = (now.at - this.#seen.at) / 1000
    const share = (written: number, limit: number) => limit === 0 ? 0 : written / (limit * seconds)
    return Math.max(
      share(now.bytes - this.#seen.bytes, bytesPerSecond), share(now.writes - this.#seen.writes, writesPerSecond))
  }

  /** One after the other. */
  #delay (ms: number): Promise<void> {
    this.#put = this.#put.then(() => this.#putNow(ms))
    return this.#put
  }

  async #putNow (ms: number): Promise<void> {
    try {
      this.#count(this.#written().writes)
      await this.#tap.delayWrites(ms)
      this.#ms = ms
    } catch (thrown) {
      const error = toBlockferryError(thrown)
      if (error.code !== 'CLOSED') this.#failure = error
    }
  }
}
