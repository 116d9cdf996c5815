// The numbers that go into the convergence policy and the decision that comes out of it.
//
// Bytes, milliseconds and bytes per second throughout, unless a name says otherwise. Nothing here
// reads a clock or touches a device: the caller samples its counters and passes the time in.

/** What the user allows. May change while a migration runs. */
export interface Budgets {
  /** How long the machine may be paused, ms, above 0. Disk and memory share it. */
  downtimeMs: number
  /** How long the throttle may delay a 4 KiB write on average, ms. Default: no limit. */
  writeLatencyMs?: number
  /** When the switchover must have happened, ms since the first sample. Default: none. */
  deadlineMs?: number
  /** The most the migration may send, wire bytes/s. Default: no limit. */
  bandwidth?: number
}

export type BudgetName = 'downtime' | 'deadline' | 'writeLatency'

/** How a writer that outruns the link is slowed: a token bucket, the paper's steps, not at all. */
export type ThrottleScheme = 'bucket' | 'steps' | 'none'

export interface PolicyOptions {
  /** Default 'bucket'. */
  throttle?: ThrottleScheme
  /** The share of the link that throttled writers may fill, 0.02 to 0.9; less is shorter and sends
   * less, more is milder. Default 0.25. */
  writerShare?: number
  /** How long the tail may take before a writer nearly as fast as the link is throttled, in
   * times that sending the whole disk takes; Infinity: never for that. Default 4. */
  patience?: number
}

/** Cumulative counters and present levels, over all disks. */
export interface Sample {
  /** ms, monotonic. */
  now: number
  /** All disks, bytes, above 0. */
  size: number
  /** Dirty and not claimed, now, content bytes. */
  unsent: number
  /** Claimed but not acknowledged by the peer's TCP, now, wire bytes. */
  inFlight: number
  /** Content bytes claimed, ever. */
  content: number
  /** Wire bytes acknowledged by the peer, ever. */
  wire: number
  /** Bytes of blocks that went from clean to dirty, ever (without the initial all-dirty). */
  dirtied: number
  /** Bytes written by the writers, ever. */
  written: number
  /** Write requests, ever. */
  writes: number
  /** ms. */
  roundTripMs: number
  /** The last measured flush and re-read at the destination, ms; null before the first. */
  checkpointMs: number | null
  /** Passes over the dirty map so far; 0 is the bulk copy. */
  round: number
  /** The sender had nothing to send for part of the interval: its goodput is not a capacity. */
  idle: boolean
  /** Delay imposed by the throttle, summed over all writes, ever, ms. */
  throttleDelayMs: number
  /** Pausing and draining the writers, ms. Default 10. */
  pauseMs?: number
  /** Of the machine's memory, which goes over the same link: wire bytes acknowledged, ever, and
   * not yet acknowledged, now. Default 0. */
  memoryWire?: number
  memoryInFlight?: number
  /** Wire bytes of the machine's memory that have to go before a switchover can, however little of
   * the disks is left; an estimate. Default 0. */
  memoryAhead?: number
  /** What the machine's state adds to the downtime, ms. Default 0. */
  machineMs?: number
  /** False while a switchover is not wanted (manual): the writer is then never throttled.
   * Default true. */
  wanted?: boolean
}

/** After so many writes in a round each further write is delayed by so long. */
export interface ThrottleStep {
  afterWrites: number
  delayUs: number
}

/** A limit on the writers: the bucket alone, or the steps alone. */
export interface Throttle {
  /** Bytes/s written; 0: no limit of this kind. */
  bytesPerSecond: number
  burstBytes: number
  /** Empty unless the scheme is 'steps'. */
  steps: readonly ThrottleStep[]
}

export type Limit = 'link' | 'writer' | 'destination' | 'none'

/** A budget that can't be met, and the least that could be. */
export interface Infeasible {
  budget: BudgetName
  /** ms, as in the budgets. */
  asked: number
  /** ms. */
  feasible: number
}

export interface Forecast {
  /** Time until the switchover, ms, [low, high]; null while nothing is known about the link or
   * when the end isn't in sight. */
  eta: readonly [number, number] | null
  /** The downtime of a switchover now, ms; null while nothing is known about the link. */
  predictedDowntimeMs: number | null
  /** What keeps the migration from ending sooner. */
  limitedBy: Limit
  /** The budget whose relaxing would help, and to what (ms); null when none needs to be. */
  relax: { budget: BudgetName, to: number } | null
}

export interface Decision {
  /** null: no limit. */
  throttle: Throttle | null
  /** How long a block must have been quiet to be claimed, ms; 0: no deferring. */
  deferMs: number
  /** The most that one claim takes, bytes, 64 KiB to 1 MiB, a multiple of 64 KiB. */
  maxExtent: number
  /** The most that should be claimed and not yet acknowledged, wire bytes: what waits in socket
   * buffers has to be sent in the pause. */
  maxInFlight: number
  /** A switchover now would meet the downtime budget. */
  fits: boolean
  /** null while nothing is known about it. */
  link: Link | null
  forecast: Forecast
  infeasible: Infeasible | null
}

/** The link as far as it is known, wire bytes/s. */
export interface Link {
  /** What to rely on for the downtime: the lower of a low quantile and the last second. */
  pessimistic: number
  mean: number
  /** The most seen. */
  peak: number
  /** Long enough observed to tell a budget that can't be met. */
  settled: boolean
}
