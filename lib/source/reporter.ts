// Collects what the progress events and the final report tell.
import { carried } from '../policy/estimate.js'
import type { Decision, Sample } from '../policy/types.js'
import type { Progress } from '../session/events.js'
import type { ByteCounts, Digests, DiskReport, DowntimePhases, Report } from '../session/report.js'
import { sumDigests } from '../session/report.js'
import type { Sampler } from './sampler.js'
import type { SourceDisks } from './disks.js'

/** Rates are taken over this long. */
const kWindowMs = 1000
/** Compressing pays below this rate (bytes/s): a core compresses about four times as fast. */
const kSlowLink = 120e6

export class Reporter {
  readonly #id: string
  readonly #disks: SourceDisks
  readonly #equality: boolean
  readonly #startedAt = performance.now()
  #samples: Sample[] = []
  #rounds = 0
  #attempts = 0
  #throttledSince: number | null = null
  #throttledMs = 0

  constructor (id: string, disks: SourceDisks, equality: boolean) {
    this.#id = id
    this.#disks = disks
    this.#equality = equality
  }

  get elapsedMs (): number {
    return performance.now() - this.#startedAt
  }

  attempt (): void {
    this.#attempts++
  }

  throttled (on: boolean): void {
    const now = performance.now()
    if (this.#throttledSince !== null) this.#throttledMs += now - this.#throttledSince
    this.#throttledSince = on ? now : null
  }

  /** The link has carried little for a while, though there was always something to send. */
  linkIsSlow (): boolean {
    const first = this.#samples[0]
    const last = this.#samples.at(-1)
    if (first === undefined || last === undefined || last.now - first.now < kWindowMs / 4) return false
    if (this.#samples.some((sample) => sample.idle)) return false
    return (last.wire - first.wire) / (last.now - first.now) * 1000 < kSlowLink
  }

  progress (sample: Sample, decision: Decision, sampler: Sampler): Progress {
    this.#samples.push(sample)
    while (this.#samples.length > 2 && sample.now - this.#samples[0]!.now > kWindowMs) this.#samples.shift()
    this.#rounds = Math.max(this.#rounds, sample.round)
    const first = this.#samples[0]!
    const seconds = Math.max(1, sample.now - first.now) / 1000
    const { content, zero, same, wire, dirty } = sampler.totals()
    return {
      event: 'progress',
      elapsedMs: this.elapsedMs,
      phase: sample.round === 0 ? 'bulk' : 'rounds',
      round: sample.round,
      progress: sampler.progress(sample.unsent),
      remainingBytes: dirty,
      sentBytes: content + zero + same,
      wireBytes: wire,
      bytesPerSecond: (carried(sample) - carried(first)) / seconds,
      dirtyBytesPerSecond: (sample.dirtied - first.dirtied) / seconds,
      throttle: decision.throttle?.bytesPerSecond ?? null,
      forecast: decision.forecast
    }
  }

  report (result: Digests, phases: DowntimePhases, sampler: Sampler): Report {
    this.throttled(false)
    const durationMs = this.elapsedMs
    const disks = this.#diskReports(result, sampler, durationMs)
    const bytes = disks.reduce<ByteCounts>((sum, disk) => ({
      disk: sum.disk + disk.bytes.disk,
      sent: sum.sent + disk.bytes.sent,
      wire: sum.wire + disk.bytes.wire,
      zero: sum.zero + disk.bytes.zero,
      same: sum.same + disk.bytes.same
    }), { disk: 0, sent: 0, wire: 0, zero: 0, same: 0 })
    const writers = this.#disks.writers()
    const dirtied = sampler.dirtied()
    const memory = sampler.memory()
    const { pause, drain, residual, commit } = phases
    const digests = { source: sumDigests(result.source), destination: sumDigests(result.destination) }
    return {
      migration: this.#id,
      durationMs,
      downtimeMs: pause + drain + residual + commit,
      downtime: phases,
      rounds: Math.max(1, this.#rounds),
      bytes,
      dirty: { rate: dirtied / durationMs * 1000, bytes: dirtied },
      rate: (bytes.wire + (memory?.wire ?? 0)) / durationMs * 1000,
      memory,
      throttle: { delayMs: writers.delayMs, writesDelayed: writers.writesDelayed, activeMs: this.#throttledMs },
      attempts: this.#attempts,
      equal: this.#equality ? disks.every((disk) => disk.equal) : null,
      digest: this.#equality ? digests : null,
      disks
    }
  }

  #diskReports (result: Digests, sampler: Sampler, durationMs: number): DiskReport[] {
    const stats = sampler.disks()
    const writers = this.#disks.writersOf()
    return this.#disks.taps.map(({ name, tap, own }, index) => {
      const source = result.source[index]!
      const destination = result.destination[index] ?? ''
      const dirtied = sampler.dirtiedOf()[index]!
      const { delayMs, writesDelayed } = writers[index]!
      return {
        name,
        bytes: {
          disk: tap.size,
          sent: stats[index]!.contentBytes,
          wire: stats[index]!.wireBytes,
          zero: stats[index]!.zeroBytes,
          same: stats[index]!.sameBytes
        },
        dirty: { rate: dirtied / durationMs * 1000, bytes: dirtied },
        throttle: { delayMs, writesDelayed },
        equal: this.#equality ? source === destination : null,
        digest: this.#equality ? { source, destination } : null,
        refused: tap.kind === 'dm' || (tap.kind === 'nbd' && !own)
      }
    })
  }
}
