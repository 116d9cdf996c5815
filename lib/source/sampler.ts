// Measures a running migration: the policy's samples, and the figures of progress events.
import type { NativeDiskStats, NativeSender } from '../native/types.js'
import type { Sample } from '../policy/types.js'
import type { MemoryBytes } from '../session/report.js'
import type { SourceDisks } from './disks.js'

/** What the sample says that is not measured here. */
export interface Known {
  bulkDone: boolean
  checkpointMs: number | null
  pauseMs: number
  machineMs: number
  memoryAhead: number
  wanted: boolean
  paused: boolean
}

export interface Totals {
  dirty: number
  content: number
  zero: number
  /** At the destination already. */
  same: number
  wire: number
}

/** The sender was idle for more than this share of an interval: no sample of what the link can. */
const kIdleShare = 0.1

export class Sampler {
  readonly #sender: NativeSender
  readonly #disks: SourceDisks
  #lastAt = performance.now()
  #lastIdleUs = 0
  #progress = 0
  /** Marked when tracking began, which is no writer's doing; of each disk, bytes. */
  readonly #markedBefore: readonly number[]

  constructor (sender: NativeSender, disks: SourceDisks) {
    this.#sender = sender
    this.#disks = disks
    this.#markedBefore = sender.stats().disks.map(({ markedBytes }) => markedBytes)
  }

  disks (): NativeDiskStats[] {
    return this.#sender.stats().disks
  }

  totals (): Totals {
    const totals = { dirty: 0, content: 0, zero: 0, same: 0, wire: 0 }
    for (const disk of this.#sender.stats().disks) {
      totals.dirty += disk.dirtyBytes
      totals.content += disk.contentBytes
      totals.zero += disk.zeroBytes
      totals.same += disk.sameBytes
      totals.wire += disk.wireBytes
    }
    return totals
  }

  /** By the writers, of each disk, bytes. */
  dirtiedOf (): number[] {
    return this.disks().map(({ markedBytes }, index) => markedBytes - this.#markedBefore[index]!)
  }

  dirtied (): number {
    return this.dirtiedOf().reduce((sum, bytes) => sum + bytes, 0)
  }

  take (known: Known): Sample {
    const now = performance.now()
    const stats = this.#sender.stats()
    const totals = this.totals()
    const writers = this.#disks.writers()
    const idleMs = (stats.idleUs - this.#lastIdleUs) / 1000
    const idle = known.paused || idleMs > kIdleShare * (now - this.#lastAt)
    this.#lastAt = now
    this.#lastIdleUs = stats.idleUs
    return {
      now,
      size: this.#disks.size,
      unsent: totals.dirty,
      inFlight: stats.inFlightBytes,
      content: totals.content,
      wire: stats.acknowledgedBytes,
      memoryWire: stats.machine.acknowledgedBytes,
      memoryInFlight: stats.machine.inFlightBytes,
      dirtied: this.dirtied(),
      written: writers.written,
      writes: writers.writes,
      roundTripMs: stats.roundTripUs / 1000,
      checkpointMs: known.checkpointMs,
      round: known.bulkDone ? Math.max(1, stats.passes) : 0,
      idle,
      throttleDelayMs: writers.delayMs,
      pauseMs: known.pauseMs,
      machineMs: known.machineMs,
      memoryAhead: known.memoryAhead,
      wanted: known.wanted
    }
  }

  /** Of the machine's memory so far; null when none was sent. */
  memory (): MemoryBytes | null {
    const { contentBytes, wireBytes } = this.#sender.stats().machine
    return contentBytes === 0 ? null : { sent: contentBytes, wire: wireBytes }
  }

  roundTripMs (): number {
    return this.#sender.stats().roundTripUs / 1000
  }

  /** 0 to 1, never falling; 1 is for the end alone. */
  progress (unsent: number): number {
    const share = 1 - unsent / this.#disks.size
    this.#progress = Math.min(0.999, Math.max(this.#progress, share))
    return this.#progress
  }
}
