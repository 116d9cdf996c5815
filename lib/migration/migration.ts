// One migration at the source: connect, copy until the downtime budget is met, switch over.
import { randomUUID } from 'node:crypto'

import type { ErrorDetails } from '../errors.js'
import { BlockferryError, toBlockferryError } from '../errors.js'
import type { Decision, Forecast } from '../policy/types.js'
import type { State } from '../policy/convergence.js'
import { decide, initialState, withBudgets } from '../policy/convergence.js'
import { askOutcome } from './ask-outcome.js'
import { EventStream } from './event-stream.js'
import type { MigrationEvent } from './events.js'
import type { CheckedMigrateOptions, MigrateOptions } from './options.js'
import { checkBudgets, checkMigrateOptions } from './options.js'
import type { Report } from './report.js'
import { Reporter } from './reporter.js'
import { Sampler } from './sampler.js'
import { SourceDisks } from './source-disks.js'
import { SourceLink } from './source-link.js'
import type { SwitchoverResult } from './switchover.js'
import { callMachine, switchOver } from './switchover.js'

const kTickMs = 50
const kConnectMs = 10_000
/** Rounds and checkpoints begin no more often than this. */
const kCheckpointMs = 500
const kNoForecast: Forecast = { eta: null, predictedDowntimeMs: null, limitedBy: 'none', relax: null }

/** What a broken pause costs at most before it is taken back: twice the budget and this. */
const kResidualGraceMs = 1000

export class Migration extends EventStream<MigrationEvent> implements Promise<Report> {
  readonly [Symbol.toStringTag] = 'Migration'
  readonly id = randomUUID()
  readonly #result: Promise<Report>
  #options!: CheckedMigrateOptions
  #policy!: State
  #disks!: SourceDisks
  #link!: SourceLink
  #sampler!: Sampler
  #reporter!: Reporter
  #decision: Decision | null = null
  #bulkDone = false
  #paused = false
  #wanted = true
  #machinePaused = false
  #committing = false
  #committed = false
  #keepDestination = true
  #checkpoint: Promise<void> | null = null
  /** What one costs in the tail; null until that is known. */
  #checkpointMs: number | null = null
  #caughtUp = false
  #checkpointAt = 0
  #pauseMs = 10
  #round = 0
  #said = { throttled: false, infeasible: '', ready: false }
  #wake: () => void = () => {}
  #cancel!: (error: BlockferryError) => void
  readonly #cancelled: Promise<never>

  /** For migrate(). */
  constructor (options: MigrateOptions) {
    super()
    this.#cancelled = new Promise((_resolve, reject) => { this.#cancel = reject })
    this.#cancelled.catch(() => {})
    this.#result = this.#run(options)
    this.#result.catch(() => {})
  }

  then<A = Report, B = never> (
    done?: ((report: Report) => A | PromiseLike<A>) | null,
    failed?: ((error: unknown) => B | PromiseLike<B>) | null
  ): Promise<A | B> {
    return this.#result.then(done, failed)
  }

  catch<B = never> (failed?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<Report | B> {
    return this.#result.catch(failed)
  }

  finally (settled?: (() => void) | null): Promise<Report> {
    return this.#result.finally(settled)
  }

  /** What is expected now: ETA range, downtime, what limits it, which budget to relax. */
  forecast (): Forecast {
    return this.#decision?.forecast ?? kNoForecast
  }

  /** Changes budgets from now on; those not named stay. INVALID for nonsense. */
  setLimits (budgets: NonNullable<MigrateOptions['budgets']>): void {
    const named = checkBudgets(budgets)
    const { downtimeMs, ...others } = named
    const merged = { ...this.#options.budgets, ...others, ...(budgets.downtime !== undefined && { downtimeMs }) }
    this.#options = { ...this.#options, budgets: merged }
    this.#policy = withBudgets(this.#policy, merged)
    this.#link?.sender.setBandwidth(merged.bandwidth ?? 0)
  }

  /** Sends nothing until resume(); writes are tracked meanwhile. */
  pause (): void {
    this.#paused = true
    this.#link?.sender.pause(true)
  }

  resume (): void {
    this.#paused = false
    this.#link?.sender.pause(false)
    this.#wake()
  }

  /** From here on the switchover happens as soon as the downtime budget is met. */
  switchover (): void {
    this.#wanted = true
    this.#wake()
  }

  /** Ends the migration; the source goes on alone. False when it is too late: the destination
   * has been told to decide. `keep` (the default) leaves what was copied for a later attempt. */
  cancel ({ destination = 'keep' }: { destination?: 'keep' | 'delete' } = {}): boolean {
    if (this.#committing) return false
    this.#keepDestination = destination === 'keep'
    this.#cancel(new BlockferryError('CANCELLED', 'the migration was cancelled'))
    return true
  }

  async #run (options: MigrateOptions): Promise<Report> {
    const unlisten = { signal: () => {} }
    try {
      // A caller can attach its listeners first.
      await Promise.resolve()
      this.#options = checkMigrateOptions(options)
      this.#policy = initialState(this.#options.budgets, { throttle: this.#options.throttle })
      unlisten.signal = this.#listenToSignal()
      this.#disks = await SourceDisks.open(this.#options.disks, this.#options.blockSize)
      const report = await this.#move()
      this.emit({ event: 'done', report })
      return report
    } catch (thrown) {
      const error = await this.#giveUp(thrown)
      this.emit({ event: 'failed', error })
      throw error
    } finally {
      unlisten.signal()
      await this.#link?.close()
      await this.#disks?.close()
      this.end()
    }
  }

  #listenToSignal (): () => void {
    const { signal } = this.#options
    const abort = () => this.cancel()
    if (signal?.aborted) abort()
    signal?.addEventListener('abort', abort)
    return () => signal?.removeEventListener('abort', abort)
  }

  async #move (): Promise<Report> {
    const { switchover } = this.#options
    this.#wanted = switchover === 'auto'
    const timer = switchover instanceof Date
      ? setTimeout(() => this.switchover(), Math.min(2 ** 31 - 1, Math.max(0, switchover.getTime() - Date.now())))
      : undefined
    try {
      await this.#connect()
      for (;;) {
        await this.#orCancelled(this.#copyUntilReady())
        const result = await this.#switchOver()
        if (result.destination !== null) return this.#reporter.report(result, this.#sampler)
        await this.#takeBack()
        this.emit({ event: 'resumed', reason: result.reason })
      }
    } finally {
      clearTimeout(timer)
    }
  }

  async #connect (): Promise<void> {
    const { host, port, streams, equality, linkTimeoutMs, budgets, compression } = this.#options
    const link = new SourceLink(linkTimeoutMs, () => {
      this.#bulkDone = true
      this.#wake()
    })
    this.#link = link
    await this.#orCancelled(link.connect(host, port, Math.min(kConnectMs, linkTimeoutMs)))
    const disks = this.#disks.taps.map(({ name, tap }) => (
      { name, size: tap.size, blockSize: this.#options.blockSize }))
    const offer = { migration: this.id, disks, streams, equality }
    const accepted = await this.#orCancelled(link.ask('offer', offer, 'accept'))
    for (const [index, { tap }] of this.#disks.taps.entries()) {
      link.sender.addDisk(tap.native, accepted.disks[index]?.blank ?? false)
    }
    await this.#orCancelled(link.openStreams(streams))
    link.sender.setBandwidth(budgets.bandwidth ?? 0)
    link.sender.setCompression(compression === 'on' ? 1 : 0)
    link.sender.pause(this.#paused)
    this.#sampler = new Sampler(link.sender, this.#disks)
    this.#reporter = new Reporter(this.id, this.#disks, equality)
    this.emit({ event: 'started', disks: disks.map(({ name, size }) => ({ name, bytes: size })) })
    link.sender.start()
  }

  /** Resolves when a switchover now would meet the budget, with a fresh checkpoint behind it. */
  async #copyUntilReady (): Promise<void> {
    for (;;) {
      this.#tick()
      if (this.#isReady()) {
        await this.#checkpointNow()
        this.#tick()
        if (this.#isReady()) return
      }
      await this.#sleep()
    }
  }

  #isReady (): boolean {
    return this.#bulkDone && this.#wanted && !this.#paused && this.#checkpointMs !== null &&
      this.#decision?.fits === true
  }

  /** Waits for the next tick, the end of the bulk copy, a command, or the session's failure. */
  async #sleep (): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve
      timer = setTimeout(resolve, kTickMs)
    })
    try {
      await Promise.race([woken, this.#link.failed])
    } finally {
      clearTimeout(timer)
    }
  }

  #tick (): void {
    const sample = this.#sampler.take({
      bulkDone: this.#bulkDone,
      checkpointMs: this.#checkpointMs,
      pauseMs: this.#pauseMs,
      wanted: this.#wanted,
      paused: this.#paused
    })
    const { state, decision } = decide(this.#policy, sample)
    this.#policy = state
    this.#decision = decision
    this.#apply(decision)
    this.#beginRound(sample.round, sample.unsent)
    this.#tell(decision)
    this.#checkDeadline()
    this.emit(this.#reporter.progress(sample, decision, this.#sampler))
    if (this.#checkpoint === null && this.#checkpointIsDue()) {
      this.#checkpointNow().catch(() => {}) // its failure is the session's
    }
  }

  /** Now and then; and at once after the bulk copy, until it is known what one costs. */
  #checkpointIsDue (): boolean {
    const unknown = this.#bulkDone && this.#checkpointMs === null
    return unknown || performance.now() - this.#checkpointAt > kCheckpointMs
  }

  #apply (decision: Decision): void {
    const { sender } = this.#link
    this.#disks.throttle(decision.throttle)
    this.#reporter.throttled(decision.throttle !== null)
    sender.setDefer(Math.min(decision.deferMs, 2 ** 31))
    sender.setMaxExtent(decision.maxExtent)
    sender.setMaxInFlight(Number.isFinite(decision.maxInFlight) ? decision.maxInFlight : 0)
    if (this.#options.compression === 'auto' && this.#reporter.linkIsSlow()) sender.setCompression(1)
  }

  #beginRound (round: number, remainingBytes: number): void {
    if (round <= this.#round) return
    this.#round = round
    this.#disks.beginRound()
    const { content, zero } = this.#sampler.totals()
    this.emit({
      event: 'round', round, elapsedMs: this.#reporter.elapsedMs, sentBytes: content + zero, remainingBytes
    })
  }

  /** Says what changed since the last decision. */
  #tell ({ throttle, infeasible, fits, forecast }: Decision): void {
    if (this.#said.throttled !== (throttle !== null)) {
      this.#said.throttled = throttle !== null
      this.emit({ event: 'throttle', bytesPerSecond: throttle?.bytesPerSecond ?? null })
    }
    const words = infeasible === null
      ? ''
      : `${infeasible.budget} ${Math.round(Math.log2(infeasible.feasible) * 2)}`
    if (words !== this.#said.infeasible) {
      this.#said.infeasible = words
      if (infeasible !== null) this.emit({ event: 'infeasible', infeasible })
    }
    if (fits && this.#bulkDone && !this.#wanted && !this.#said.ready) {
      this.#said.ready = true
      this.emit({ event: 'ready', forecast })
    }
  }

  #checkDeadline (): void {
    const { deadlineMs } = this.#options.budgets
    if (deadlineMs === undefined || this.#reporter.elapsedMs <= deadlineMs) return
    throw new BlockferryError(
      'DEADLINE', `no switchover within the deadline of ${deadlineMs} ms`,
      { owner: 'source', resumable: true })
  }

  /** One at a time; a running one is waited for. Its cost counts from the second one after the
   * bulk copy on: the first still has the rest of that to flush and to read again. */
  async #checkpointNow (): Promise<void> {
    if (this.#checkpoint !== null) await this.#checkpoint
    this.#checkpointAt = performance.now()
    const inTail = this.#bulkDone
    this.#checkpoint = this.#link.checkpoint().then(({ wrong, tookUs }) => {
      this.#checkpoint = null
      if (this.#caughtUp) this.#checkpointMs = tookUs / 1000
      this.#caughtUp ||= inTail
      this.#wake()
      for (const { disk, first, count } of wrong) this.#link.sender.remark(disk, first, count)
    })
    await this.#checkpoint
  }

  async #switchOver (): Promise<SwitchoverResult> {
    if (this.#checkpoint !== null) await this.#orCancelled(this.#checkpoint)
    this.#reporter.attempt()
    const { downtimeMs } = this.#options.budgets
    const result = await switchOver({
      link: this.#link,
      disks: this.#disks,
      machine: this.#options.machine,
      residualLimitMs: 2 * downtimeMs + kResidualGraceMs,
      cancelled: this.#cancelled,
      committing: () => { this.#committing = true },
      step: (step) => {
        this.#machinePaused = true
        this.emit({ event: 'switchover', step })
      }
    }).catch(async (error: unknown) => await this.#resolveBreak(error))
    this.#pauseMs = Math.max(1, result.phases.pause + result.phases.drain)
    if (result.destination !== null) {
      this.#committed = true
      this.#disks.refuse()
    }
    return result
  }

  /** The link broke in the switchover. Before the commit message the disks are ours; after it
   * only the destination knows. */
  async #resolveBreak (thrown: unknown): Promise<SwitchoverResult> {
    const error = toBlockferryError(thrown)
    if (!this.#committing || error.code === 'NOT_EQUAL') throw error
    const source = this.#disks.taps.map((_tap, index) => this.#link.sender.digest(index))
    const { host, port, linkTimeoutMs } = this.#options
    const outcome = await askOutcome({
      host, port, migration: this.id, linkTimeoutMs, patienceMs: 3 * linkTimeoutMs
    })
    if (!outcome.committed) {
      this.#committing = false
      throw error
    }
    const phases = { pause: 0, drain: 0, residual: 0, commit: 0 }
    return { destination: outcome.digests, source, reason: '', phases }
  }

  /** The source goes on: writes flow, the machine runs. */
  async #takeBack (): Promise<void> {
    this.#committing = false
    this.#disks.open()
    if (!this.#machinePaused) return
    this.#machinePaused = false
    await callMachine(this.#options.machine, 'resume')
  }

  /** Leaves the source as it was, tells the destination, and names the error. */
  async #giveUp (thrown: unknown): Promise<BlockferryError> {
    const started = this.#sampler !== undefined
    if ((thrown as BlockferryError)?.owner === 'unknown') return thrown as BlockferryError
    const details: ErrorDetails = { owner: this.#committed ? 'destination' : 'source', resumable: started }
    let error = toBlockferryError(thrown, details)
    if (this.#link !== undefined && !this.#link.broken) {
      if (error.code === 'CANCELLED') {
        this.#link.send('cancel', { keep: this.#keepDestination })
      } else {
        this.#link.send('failed', { code: error.code, message: error.message })
      }
    }
    if (this.#committed || this.#disks === undefined) return error
    try {
      await this.#takeBack()
    } catch (second) {
      error = toBlockferryError(second, details)
    }
    return error
  }

  async #orCancelled<T> (promise: Promise<T>): Promise<T> {
    return await Promise.race([promise, this.#cancelled])
  }
}
