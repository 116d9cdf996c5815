// Slows the writers of a disk that our tap only watches, by the kernel's cgroup io controller. The same
// in the policy's eyes as the bucket of an nbd tap.
import { BlockferryError } from '../../base/errors.js'
import type { LimitedCgroup, WriteRates, Written } from './cgroup-files.js'
import { wholeRates, writeLines } from './cgroup-files.js'
import { diskNumber } from './disk-number.js'
import { findCgroups } from './find-cgroups.js'
import { restoreLeft, Restorer } from './restorer.js'
import type { Slowing, WriterLimits } from './slowing.js'

/** The kernel's own limits act in slices of about 100 ms: over less there is nothing to see. */
const kLookMs = 250
/** Writers that come this near to their limit are held by it. */
const kHeld = 0.8
/** With each change the kernel begins a slice anew, and what the last one had let through is
 * forgotten: changed every 50 ms, a limit lets through twice as much. So small changes wait, as long
 * as this since the last one. */
const kSettleMs = 1000
/** And any change waits until no more was written than the limit in force allows, but for this long
 * of the next one. Linux 6.1 to 6.5 take what was written too early for a huge allowance once a limit
 * is lowered: for a slice there is none at all, and with each further change there is none again. */
const kEarlyMs = 100
/** A limit in force lets a little more through, for ever. */
const kLoose = 1.1
/** How often a change that waits is tried again: no part of the kernel's slices. */
const kLaterMs = 35
/** A change to less than this share of the other is none of those. */
const kSmall = 0.7
const kNone: WriteRates = { bytes: Infinity, writes: Infinity }

export class WriterLimit implements Slowing {
  readonly #disk: string
  readonly #cgroups: readonly LimitedCgroup[]
  /** Of each cgroup: what others have set, and what we have. */
  #before: readonly WriteRates[] = []
  #set: readonly WriteRates[] = []
  #setAt = 0
  #writtenAtSet: readonly Written[] = []
  #restorer: Restorer | null = null
  #limit = kNone
  #wanted = kNone
  #later: NodeJS.Timeout | null = null
  #seen = { at: 0, bytes: 0, writes: 0 }
  #delayMs = 0

  /** For `device`, a partition's whole disk. `cgroup`: the folder of the one to limit, else who
   * writes is looked for. UNSUPPORTED says why it can't be done, NO_PERMISSION. */
  static async find (device: string, cgroup?: string): Promise<WriterLimit> {
    return new WriterLimit(diskNumber(device), await findCgroups(device, cgroup))
  }

  private constructor (disk: string, cgroups: readonly LimitedCgroup[]) {
    this.#disk = disk
    this.#cgroups = cgroups
  }

  /** Lifts what a process left that was killed together with its restorer. */
  restoreLeft (): void {
    restoreLeft(this.#disk)
  }

  get names (): string[] {
    return this.#cgroups.map(({ name }) => name)
  }

  /** Never more than the limits that were there before allow. */
  set ({ bytesPerSecond = 0, writesPerSecond = 0 }: WriterLimits): void {
    const wanted = { bytes: bytesPerSecond || Infinity, writes: writesPerSecond || Infinity }
    this.#wanted = wanted
    if (areEqual(wanted, this.#limit)) return
    if (areEqual(wanted, kNone)) return this.#lift()
    try {
      if (this.#waitMs() <= 0) this.#apply()
      else this.#later ??= setTimeout(() => this.#tryAgain(), kLaterMs).unref()
    } catch (error) {
      this.#lift()
      throw toError(error)
    }
  }

  #tryAgain (): void {
    this.#later = null
    try {
      this.set({ bytesPerSecond: this.#wanted.bytes, writesPerSecond: this.#wanted.writes })
    } catch {} // it is lifted; who sets the next one hears why
  }

  /** Until the limit may be changed to the one that is wanted. */
  #waitMs (): number {
    if (this.#restorer === null) return 0
    const elapsedMs = performance.now() - this.#setAt
    const settleMs = areNear(this.#wanted, this.#limit) ? kSettleMs - elapsedMs : 0
    const allowedMs = this.#cgroups.map((_cgroup, index) => this.#allowedMs(index))
    return Math.max(settleMs, Math.max(...allowedMs) - elapsedMs)
  }

  /** The time in which the limit in force allows what was written, but for what may be early. */
  #allowedMs (index: number): number {
    const [then, set] = [this.#writtenAtSet[index]!, this.#set[index]!]
    const now = this.#cgroups[index]!.written(this.#disk)
    const next = this.#share(this.#wanted, this.#before[index]!)
    const allowedMs = (of: keyof WriteRates) => set[of] === Infinity
      ? 0
      : (now[of] - then[of]) * 1000 / (set[of] * kLoose) - kEarlyMs * next[of] / set[of]
    return Math.max(allowedMs('bytes'), allowedMs('writes'))
  }

  #apply (): void {
    this.#begin()
    this.#set = this.#before.map((before) => this.#share(this.#wanted, before))
    writeLines(this.#linesFor(this.#set))
    this.#limit = this.#wanted
    this.#setAt = performance.now()
    this.#writtenAtSet = this.#cgroups.map((cgroup) => cgroup.written(this.#disk))
  }

  /** What others have set since is theirs: it counts, and comes back. */
  #begin (): void {
    if (this.#restorer === null) {
      restoreLeft(this.#disk)
      this.#seen.at = 0
      this.#set = []
    }
    const before = this.#cgroups.map((cgroup, index) => this.#beforeOf(cgroup, index))
    if (this.#restorer !== null && before.every((rates, index) => areEqual(rates, this.#before[index]!))) return
    this.#before = before
    this.#restorer?.done()
    this.#restorer = null
    this.#restorer = new Restorer(this.#disk, this.#linesFor(before))
  }

  /** What is not as we have set it is of others. */
  #beforeOf (cgroup: LimitedCgroup, index: number): WriteRates {
    const now = cgroup.rates(this.#disk)
    const set = this.#set[index]
    if (set === undefined) return now
    const before = this.#before[index]!
    return {
      bytes: now.bytes === set.bytes ? before.bytes : now.bytes,
      writes: now.writes === set.writes ? before.writes : now.writes
    }
  }

  /** As it was before. What others have changed meanwhile is left to them. */
  async lift (): Promise<void> {
    this.#lift()
  }

  #lift (): void {
    if (this.#later !== null) clearTimeout(this.#later)
    this.#later = null
    this.#limit = this.#wanted = kNone
    if (this.#restorer === null) return
    for (const [index, cgroup] of this.#cgroups.entries()) {
      try {
        writeLines(cgroup.lines(this.#disk, this.#beforeOf(cgroup, index)))
      } catch {} // the cgroup has gone
    }
    this.#restorer.done()
    this.#restorer = null
  }

  /** At least: the kernel does not tell, so while the writers come near to their limit one of them
   * counts as waiting. */
  delayMs (now: number, bytes: number, writes: number): number {
    const { at } = this.#seen
    const elapsed = now - at
    if (at !== 0 && elapsed < kLookMs) return this.#delayMs
    if (at !== 0 && this.#restorer !== null) {
      // All of it may be written in one of the cgroups.
      const least = (of: keyof WriteRates) => Math.min(...this.#set.map((rates) => rates[of]))
      const share = Math.max(
        (bytes - this.#seen.bytes) / least('bytes'), (writes - this.#seen.writes) / least('writes'))
      if (share * 1000 > kHeld * elapsed) this.#delayMs += elapsed
    }
    this.#seen = { at: now, bytes, writes }
    return this.#delayMs
  }

  #share ({ bytes, writes }: WriteRates, before: WriteRates): WriteRates {
    const count = this.#cgroups.length
    return wholeRates({
      bytes: Math.min(before.bytes, bytes / count),
      writes: Math.min(before.writes, writes / count)
    })
  }

  #linesFor (rates: readonly WriteRates[]) {
    return this.#cgroups.flatMap((cgroup, index) => cgroup.lines(this.#disk, rates[index]!))
  }
}

function areEqual (one: WriteRates, other: WriteRates): boolean {
  return one.bytes === other.bytes && one.writes === other.writes
}

function areNear (one: WriteRates, other: WriteRates): boolean {
  const isNear = (a: number, b: number) => a === b || Math.min(a, b) > kSmall * Math.max(a, b)
  return isNear(one.bytes, other.bytes) && isNear(one.writes, other.writes)
}

function toError (error: unknown): BlockferryError {
  if (error instanceof BlockferryError) return error
  const { code, message } = error as NodeJS.ErrnoException
  const isDenied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
  return new BlockferryError(
    isDenied ? 'NO_PERMISSION' : 'IO_ERROR', `limit the writers: ${message}`, { cause: error })
}
