// What slows the writers of a disk that a tap in the kernel watches.

/** 0 or absent: no limit. */
export interface WriterLimits { bytesPerSecond?: number, writesPerSecond?: number }

export interface Slowing {
  set: (limits: WriterLimits) => void
  /** As it was before, at the latest when this resolves. */
  lift: () => Promise<void>
  /** How long writes have waited for the limits, ms, summed over all writes. To be called every now
   * and then, with what was written ever. */
  delayMs: (now: number, bytes: number, writes: number) => number
}
