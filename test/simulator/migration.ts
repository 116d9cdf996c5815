// A migration in simulated time: writer, tap, sender, link and destination as events, the real
// policy in the middle. Only the policy is under test; the rest is a model of what the native
// engine does (see disk.ts, link.ts, gate.ts).
import { decide, initialState, withBudgets } from '../../lib/policy/convergence.js'
import type {
  Budgets, Decision, Infeasible, PolicyOptions, Sample
} from '../../lib/policy/types.js'
import type { Disk } from './disk.js'
import { kBlock } from './disk.js'
import { Gate } from './gate.js'
import type { Link } from './link.js'
import type { Pattern } from './patterns.js'
import type { Random } from '../../testbed/support/random.js'

export interface Scenario {
  disk: Disk
  link: Link
  random: Random
  budgets: Budgets
  options?: PolicyOptions
  writer: {
    pattern: Pattern
    /** Bytes/s that the writer asks for at a time. */
    rate: (now: number) => number
    /** Bytes written at once; larger is faster to simulate. Default 4 KiB. */
    batch?: number
    /** Writes that wait at the same time. Default 1. */
    depth?: number
  }
  /** Wire bytes per content byte. Default 1. */
  wireRatio?: number
  /** The share of the disk that is holes at the beginning and costs nothing to send. Default 0. */
  holes?: number
  /** Flush and re-read at the destination, ms, and how far it strays. Default 10, 0. */
  checkpointMs?: number
  checkpointNoise?: number
  /** Draining the writers, ms. Default 5. */
  pauseMs?: number
  /** Between two decisions, ms; a range: a thousandth of what sending all that is dirty would
   * take, within it. Default 100. */
  tickMs?: number | readonly [number, number]
  /** The simulation gives up then, ms. */
  limitMs: number
  /** What to do about infeasible budgets: stop, or go on. Default 'stop'. */
  onInfeasible?: 'stop' | 'go on'
  /** Content bytes claimed at once, at least; larger is faster to simulate. Default 0. */
  quantum?: number
  /** From then on a switchover is wanted, ms. Default 0. */
  wantedAt?: number
  /** Called with every decision. */
  watch?: (sample: Sample, decision: Decision) => void
  /** Other budgets from a time on. */
  change?: { at: number, budgets: Budgets }
}

export interface Outcome {
  end: 'switched' | 'infeasible' | 'limit'
  infeasible: Infeasible | null
  totalMs: number
  downtimeMs: number
  /** What was promised at the switchover, ms. */
  predictedMs: number
  residualBytes: number
  contentBytes: number
  wireBytes: number
  rounds: number
  writtenBytes: number
  dirtiedBytes: number
  writes: number
  /** Time with a limit in force, ms. */
  throttledMs: number
  /** Delay imposed, summed over the writes, ms. */
  delayMs: number
  /** ETA ranges given on the way, a few hundred at most. */
  forecasts: { now: number, eta: readonly [number, number] | null }[]
}

const kFrameOverhead = 48
const kCheckpointEveryMs = 2_000
const kFirstWindow = 1 << 20
const kPiece = 16_384
const kForecasts = 200

interface Flight {
  bytes: number
  acknowledgedAt: number
}

export function simulate (scenario: Scenario): Outcome {
  return new Migration(scenario).run()
}

class Migration {
  readonly #s: Scenario
  readonly #gate = new Gate()
  #state
  #decision: Decision | null = null
  #now = 0
  #flights: Flight[] = []
  #firstFlight = 0
  #inFlight = 0
  #content = 0
  #acknowledged = 0
  #sent = 0
  #written = 0
  #writes = 0
  #delayMs = 0
  #throttledMs = 0
  #round = 0
  #claimedThisRound = false
  #idle = false
  #starved = false
  #checkpointMs: number | null = null
  #holesLeft: number
  // Times of the next events.
  #writeAt = 0
  #delayed = false
  #tickAt = 0
  #agedAt = 0
  #checkpointAt = kCheckpointEveryMs
  #forecasts: Outcome['forecasts'] = []

  constructor (scenario: Scenario) {
    this.#s = scenario
    this.#state = initialState(scenario.budgets, scenario.options)
    this.#holesLeft = (scenario.holes ?? 0) * scenario.disk.size
  }

  run (): Outcome {
    this.#send()
    for (;;) {
      const acknowledgeAt = this.#flights[this.#firstFlight]?.acknowledgedAt ?? Infinity
      const ageAt = this.#deferMs > 0 ? Math.max(this.#now, this.#agedAt + this.#deferMs) : Infinity
      this.#now = Math.min(acknowledgeAt, ageAt, this.#writeAt, this.#tickAt, this.#checkpointAt)
      if (this.#now >= this.#s.limitMs) return this.#outcome('limit')
      if (this.#now === acknowledgeAt) this.#acknowledge()
      else if (this.#now === this.#writeAt) this.#write()
      else if (this.#now === ageAt) this.#age()
      else if (this.#now === this.#checkpointAt) this.#checkpoint()
      else {
        const outcome = this.#tick()
        if (outcome !== null) return outcome
      }
    }
  }

  get #deferMs (): number { return this.#decision?.deferMs ?? 0 }

  #acknowledge (): void {
    const { bytes } = this.#flights[this.#firstFlight++]!
    if (this.#firstFlight > 4096) {
      this.#flights = this.#flights.slice(this.#firstFlight)
      this.#firstFlight = 0
    }
    this.#inFlight -= bytes
    this.#acknowledged += bytes
    this.#send()
  }

  #send (): void {
    const { disk, quantum = 0, wireRatio = 1 } = this.#s
    const window = this.#decision?.maxInFlight ?? kFirstWindow
    const extent = Math.max(this.#decision?.maxExtent ?? 65_536, quantum)
    while (this.#inFlight < Math.max(window, 2 * quantum)) {
      const { bytes, wrapped } = disk.claim(extent, this.#deferMs > 0)
      if (wrapped && (this.#claimedThisRound || bytes > 0)) this.#nextRound()
      if (bytes === 0) {
        this.#idle = true
        this.#starved = true
        return
      }
      this.#starved = false
      this.#claimedThisRound = true
      const holes = Math.min(this.#holesLeft, bytes)
      this.#holesLeft -= holes
      const wire = (bytes - holes) * wireRatio + kFrameOverhead
      this.#content += bytes
      this.#transmit(wire)
    }
  }

  /** In pieces that are acknowledged one by one. */
  #transmit (wire: number): void {
    const { link, quantum = 0 } = this.#s
    const piece = Math.max(kPiece, quantum)
    for (let left = wire; left > 0; left -= piece) {
      const bytes = Math.min(left, piece)
      const acknowledgedAt = link.send(this.#now, bytes) + link.roundTripMs
      this.#flights.push({ bytes, acknowledgedAt })
    }
    this.#sent += wire
    this.#inFlight += wire
  }

  #nextRound (): void {
    this.#round++
    this.#claimedThisRound = false
    this.#gate.beginRound()
  }

  #write (): void {
    const { writer, disk } = this.#s
    const rate = writer.rate(this.#now)
    if (rate <= 0) {
      this.#writeAt = this.#now + 20
      return
    }
    const bytes = writer.batch ?? kBlock
    const writes = bytes / kBlock
    if (!this.#delayed) {
      const wait = this.#gate.take(this.#now, bytes, writes)
      this.#delayMs += wait * (writer.depth ?? 1)
      if (wait > 0) {
        this.#delayed = true
        this.#writeAt = this.#now + wait
        return
      }
    }
    this.#delayed = false
    const before = disk.dirtyBytes
    writer.pattern(writes)
    this.#written += bytes
    this.#writes += writes
    this.#writeAt = this.#now + bytes * 1000 / rate
    if (this.#starved && this.#deferMs === 0 && disk.dirtyBytes > before) this.#send()
  }

  #age (): void {
    this.#agedAt = this.#now
    this.#s.disk.age()
    this.#send()
  }

  #checkpoint (): void {
    this.#checkpointMs = this.#checkpointCost()
    this.#checkpointAt = this.#now + kCheckpointEveryMs
  }

  #checkpointCost (): number {
    const { checkpointMs = 10, checkpointNoise = 0, random } = this.#s
    return checkpointMs * (1 + checkpointNoise * (2 * random.next() - 1))
  }

  #sample (): Sample {
    const { disk, link, wantedAt = 0 } = this.#s
    return {
      now: this.#now,
      size: disk.size,
      unsent: disk.dirtyBytes,
      inFlight: this.#inFlight,
      content: this.#content,
      wire: this.#acknowledged,
      dirtied: disk.markedBytes,
      written: this.#written,
      writes: this.#writes,
      roundTripMs: link.roundTripMs,
      checkpointMs: this.#checkpointMs,
      round: this.#round,
      idle: this.#idle,
      throttleDelayMs: this.#delayMs,
      pauseMs: this.#s.pauseMs ?? 5,
      wanted: this.#now >= wantedAt
    }
  }

  #tick (): Outcome | null {
    const { change, watch, onInfeasible = 'stop' } = this.#s
    const tickMs = this.#tickMs
    if (change !== undefined && this.#now >= change.at) {
      this.#state = withBudgets(this.#state, change.budgets)
    }
    if (this.#decision?.throttle) this.#throttledMs += tickMs
    const sample = this.#sample()
    const { state, decision } = decide(this.#state, sample)
    this.#state = state
    this.#decision = decision
    this.#gate.set(decision.throttle, this.#now)
    this.#tickAt = this.#now + tickMs
    this.#idle = this.#starved
    watch?.(sample, decision)
    this.#note(decision)
    if (decision.fits && sample.wanted !== false) return this.#switchOver(decision)
    if (decision.infeasible !== null && onInfeasible === 'stop') return this.#outcome('infeasible')
    this.#send()
    return null
  }

  get #tickMs (): number {
    const { tickMs = 100, disk } = this.#s
    if (typeof tickMs === 'number') return tickMs
    const [least, most] = tickMs
    const sent = this.#acknowledged / Math.max(1, this.#now)
    return Math.min(most, Math.max(least, disk.dirtyBytes / Math.max(1, sent) / 1000))
  }

  #note (decision: Decision): void {
    const last = this.#forecasts.at(-1)
    if (last !== undefined && this.#now - last.now < this.#s.limitMs / kForecasts / 10) return
    if (this.#forecasts.length >= kForecasts) {
      this.#forecasts = this.#forecasts.filter((_, index) => index % 2 === 0)
    }
    this.#forecasts.push({ now: this.#now, eta: decision.forecast.eta })
  }

  #switchOver (decision: Decision): Outcome {
    const { disk, link, wireRatio = 1, pauseMs = 5 } = this.#s
    const residual = disk.dirtyBytes
    const wire = residual * wireRatio
    const quiet = this.#now + pauseMs
    const leftAt = link.send(quiet, wire)
    this.#sent += wire
    const downtimeMs = Math.max(leftAt, quiet) - this.#now + 1.5 * link.roundTripMs +
      this.#checkpointCost()
    const outcome = this.#outcome('switched')
    return {
      ...outcome,
      downtimeMs,
      residualBytes: residual,
      totalMs: this.#now + downtimeMs,
      predictedMs: decision.forecast.predictedDowntimeMs ?? 0,
      contentBytes: this.#content + residual
    }
  }

  #outcome (end: Outcome['end']): Outcome {
    return {
      end,
      infeasible: this.#decision?.infeasible ?? null,
      totalMs: this.#now,
      downtimeMs: 0,
      predictedMs: 0,
      residualBytes: 0,
      contentBytes: this.#content,
      wireBytes: this.#sent,
      rounds: this.#round,
      writtenBytes: this.#written,
      dirtiedBytes: this.#s.disk.markedBytes,
      writes: this.#writes,
      throttledMs: this.#throttledMs,
      delayMs: this.#delayMs,
      forecasts: this.#forecasts
    }
  }
}
