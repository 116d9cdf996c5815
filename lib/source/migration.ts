// One migration at the source: connect, copy until the downtime budget is met, switch over.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

import type { ErrorDetails } from '../base/errors.js'
import { BlockferryError, toBlockferryError } from '../base/errors.js'
import type { NativeTrust } from '../native/types.js'
import { partOf } from '../ownership/journal.js'
import { knownSizes } from '../ownership/known-sizes.js'
import { SourceOwnership } from '../ownership/source-ownership.js'
import type { Forecast } from '../policy/types.js'
import { atDate } from './switchover-date.js'
import { committedAfterBreak } from './committed-after-break.js'
import { Copying } from './copying.js'
import { EventStream } from '../base/event-stream.js'
import type { MigrationEvent } from '../session/events.js'
import { NetworkSteps } from '../session/network-steps.js'
import { onAbort } from '../base/on-abort.js'
import type { CheckedMigrateOptions, MigrateOptions } from './options.js'
import { canPause, checkBudgets, checkMigrateOptions, sharedIn } from './options.js'
import { planOf } from './plan.js'
import type { DowntimePhases, Report } from '../session/report.js'
import { isLinkLoss, Reconnecting } from '../session/link-loss.js'
import { Reporter } from './reporter.js'
import { Sampler } from './sampler.js'
import { Separation } from './separation.js'
import { SourceDisks } from './disks.js'
import { SourceLink } from './link.js'
import { SourceMachine } from './machine.js'
import type { SwitchoverResult } from './switchover.js'
import { switchOver } from './switchover.js'
import { loadTls } from '../base/tls.js'

const kConnectMs = 10_000
const kNoForecast: Forecast = { eta: null, predictedDowntimeMs: null, limitedBy: 'none', relax: null }

/** What a broken pause costs at most before it is taken back: twice the budget and this. */
const kResidualGraceMs = 1000
/** How long the link may take to break after the memory that travels on it, ms. */
const kLinkFailureMs = 1000
/** How often disks are compared as a whole because a tap may have missed writes. */
const kMaxComparisons = 3

export class Migration extends EventStream<MigrationEvent> implements Promise<Report> {
  readonly [Symbol.toStringTag] = 'Migration'
  readonly id = randomUUID()
  readonly #result: Promise<Report>
  #options!: CheckedMigrateOptions
  #earlyLimits: NonNullable<MigrateOptions['budgets']> = {}
  #disks!: SourceDisks
  #link!: SourceLink
  #copying: Copying | null = null
  #reporter: Reporter | null = null
  #paused = false
  #wanted = true
  #tls: NativeTrust = 'sameUser'
  #machine: SourceMachine | null = null
  #ownership: SourceOwnership | null = null
  #network = new NetworkSteps(null)
  #committing = false
  #committed = false
  #comparisons = 0
  #keepDestination = true
  #cancel!: (error: BlockferryError) => void
  readonly #cancelled: Promise<never>

  /** For migrate() and resume(). */
  constructor (options: MigrateOptions | Promise<MigrateOptions>) {
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
    return this.#copying?.forecast ?? kNoForecast
  }

  /** Changes budgets from now on; those not named stay. INVALID for nonsense. */
  setLimits (budgets: NonNullable<MigrateOptions['budgets']>): void {
    const named = checkBudgets(budgets)
    if (sharedIn(budgets) !== null) {
      throw new BlockferryError('INVALID', 'budgets.bandwidth: what is shared is changed by its own set()')
    }
    // migrate() looks at its own options in the next turn.
    if (this.#options === undefined) {
      this.#earlyLimits = { ...this.#earlyLimits, ...budgets }
      return
    }
    const { downtimeMs, ...others } = named
    const merged = { ...this.#options.budgets, ...others, ...(budgets.downtime !== undefined && { downtimeMs }) }
    this.#options = { ...this.#options, budgets: merged }
    this.#copying?.setBudgets(merged)
  }

  /** Sends nothing until resume(); writes are tracked meanwhile. */
  pause (): void {
    this.#paused = true
    this.#copying?.pause(true)
  }

  resume (): void {
    this.#paused = false
    this.#copying?.pause(false)
  }

  /** From here on the switchover happens as soon as the downtime budget is met. */
  switchover (): void {
    this.#wanted = true
    this.#copying?.want()
  }

  /** Ends the migration; the source goes on alone. False when it is too late: the destination
   * has been told to decide. `keep` (the default) leaves what was copied for a later attempt. */
  cancel ({ destination = 'keep' }: { destination?: 'keep' | 'delete' } = {}): boolean {
    if (this.#committing) return false
    this.#keepDestination = destination === 'keep'
    this.#cancel(new BlockferryError('CANCELLED', 'the migration was cancelled'))
    return true
  }

  async #run (options: MigrateOptions | Promise<MigrateOptions>): Promise<Report> {
    const unlisten = { signal: () => {} }
    try {
      // A caller can attach its listeners first.
      this.#options = checkMigrateOptions(await options)
      this.#network = new NetworkSteps(this.#options.network)
      this.setLimits(this.#earlyLimits)
      this.#machine = new SourceMachine(this.#options, (reason) => {
        if (!this.#committing) this.#cancel(toBlockferryError(reason))
      })
      unlisten.signal = onAbort(this.#options.signal, () => this.cancel())
      const { disks, blockSize, journal, throttle, tls } = this.#options
      this.#tls = await loadTls(tls, { connects: true })
      const sizes = await knownSizes(journal, disks)
      this.#disks = await SourceDisks.open(disks, sizes, blockSize, canPause(this.#options.machine))
      await this.#disks.checkOptions(throttle, typeof journal === 'string' ? journal : journal?.path)
      this.#ownership = await SourceOwnership.begin(
        journal, this.id, planOf(this.#options), this.#disks.taps.map(({ tap }) => partOf(tap)))
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
      await this.#ownership?.close()
      await this.#machine?.close()
      this.end()
    }
  }

  async #move (): Promise<Report> {
    const { switchover } = this.#options
    this.#wanted = switchover === 'auto'
    const forgetDate = switchover instanceof Date ? atDate(switchover, () => this.switchover()) : () => {}
    try {
      return await this.#moveOverLinks(new Reconnecting(this.#options.reconnectMs))
    } finally {
      forgetDate()
    }
  }

  /** Goes on over a new connection when one is lost: the destination tells what it has. */
  async #moveOverLinks (reconnecting: Reconnecting): Promise<Report> {
    for (;;) {
      try {
        const copying = await this.#connect()
        reconnecting.connected()
        return await this.#moveOver(copying)
      } catch (thrown) {
        const error = toBlockferryError(thrown)
        const compare = this.#mustCompareAfter(error)
        const waitMs = compare ? 0 : this.#mayGoOnAfter(error) ? reconnecting.next() : null
        if (waitMs === null) throw error
        await this.#disconnect()
        if (compare) await this.#disks.beginAgain()
        this.emit({ event: 'reconnecting', error, waitMs })
        await this.#orCancelled(sleep(waitMs))
      }
    }
  }

  /** Its memory is under way, or there. */
  get #hasMemory (): boolean {
    return this.#machine !== null && this.#machine.memory !== null
  }

  /** Not before there was a link, not for what is the source's own, not when the destination may own the
   * disks, and not when its hypervisor has begun to take memory in: that can't begin again. */
  #mayGoOnAfter (error: BlockferryError): boolean {
    const isUndecided = !this.#committing && !this.#committed && error.owner === null
    return isLinkLoss(error) && this.#copying !== null && !this.#hasMemory && isUndecided
  }

  /** The marks are not to be relied on. Begun again, both sides are compared as a whole, by their
   * hashes (`reuse`), or all is sent once more. */
  #mustCompareAfter ({ code }: BlockferryError): boolean {
    return code === 'UNACCOUNTED' && !this.#hasMemory && this.#comparisons++ < kMaxComparisons
  }

  /** The writers go on as if nothing had happened. */
  async #disconnect (): Promise<void> {
    this.#disks.throttle(null)
    await this.#ownership!.copying()
    await this.#takeBack()
    await this.#link.close()
  }

  async #moveOver (copying: Copying): Promise<Report> {
    for (;;) {
      await this.#orCancelled(copying.untilReady())
      this.#disks.check()
      await this.#orCancelled(this.#disks.checkOpeners())
      await this.#orCancelled(this.#machine!.sendMemory(
        this.#link, () => copying.memorySituation(), () => copying.wake(), (event) => this.emit(event)))
      if (this.#machine!.memory !== null) await this.#orCancelled(copying.untilPaused(this.#machine!.memory))
      await this.#orCancelled(this.#disks.checkOpeners())
      const phases = { pause: 0, drain: 0, residual: 0, commit: 0 }
      const result = await this.#switchOver(copying, phases)
      if (result.destination !== null) {
        this.#link.send('bye', {})
        await this.#machine!.release()
        await this.#network.switchOver()
        return this.#reporter!.report(result, phases, copying.sampler)
      }
      await this.#ownership!.copying()
      await this.#takeBack()
      this.emit({ event: 'resumed', reason: result.reason })
      await this.#orCancelled(result.settled)
    }
  }

  async #connect (): Promise<Copying> {
    const { host, port, streams, equality, reuse, linkTimeoutMs } = this.#options
    const link = new SourceLink(linkTimeoutMs, this.#tls, () => this.#copying?.bulkDone())
    this.#link = link
    const machine = await this.#orCancelled(this.#machine!.prepare())
    await this.#orCancelled(this.#network.prepare())
    await this.#orCancelled(link.connect(host, port, Math.min(kConnectMs, linkTimeoutMs)))
    const disks = await this.#orCancelled(this.#disks.offer(this.#options.blockSize, this.#ownership!.epochs))
    const offer = { migration: this.id, disks, streams, equality, reuse, machine }
    const accepted = await this.#orCancelled(link.ask('offer', offer, 'accept'))
    await this.#orCancelled(this.#network.verify())
    for (const [index, { tap }] of this.#disks.taps.entries()) {
      link.sender.addDisk(tap.native, accepted.disks[index] ?? {})
    }
    await this.#orCancelled(link.openStreams(streams))
    if (accepted.disks.some(({ inventory }) => inventory)) await this.#orCancelled(link.openInventory())
    const isFirst = this.#reporter === null
    const reporter = this.#reporter ??= new Reporter(this.id, this.#disks, equality)
    const copying = new Copying({
      link,
      disks: this.#disks,
      options: this.#options,
      machine: this.#machine!,
      reporter,
      sampler: new Sampler(link.sender, this.#disks),
      emit: (event) => this.emit(event)
    })
    copying.pause(this.#paused)
    if (this.#wanted) copying.want()
    this.#copying = copying
    this.emit(isFirst
      ? { event: 'started', disks: this.#disks.sizes() }
      : { event: 'reconnected' })
    const separation = new Separation(link, this.#disks.taps.map(({ tap }) => tap), this.#options, accepted.disks)
    link.carry(separation.prove().catch((error: unknown) => {
      if (link.broken) return
      if (isLinkLoss(error)) link.lose(error)
      else this.#cancel(toBlockferryError(error))
    }))
    link.sender.start()
    return copying
  }

  async #switchOver (copying: Copying, phases: DowntimePhases): Promise<SwitchoverResult> {
    copying.reporter.attempt()
    const began = performance.now()
    const { downtimeMs } = this.#options.budgets
    const result = await switchOver({
      link: this.#link,
      disks: this.#disks,
      machine: this.#options.machine,
      memory: this.#machine!.memory,
      residualLimitMs: 2 * downtimeMs + kResidualGraceMs,
      linkTimeoutMs: this.#options.linkTimeoutMs,
      phases,
      cancelled: this.#cancelled,
      settle: () => copying.settle(),
      prepareCommit: async () => {
        await this.#ownership!.committing()
        await this.#disks.mayLose()
      },
      committing: () => { this.#committing = true },
      step: (step) => {
        this.#machine!.touch()
        this.emit({ event: 'switchover', step })
      }
    }).catch(async (error: unknown) => {
      const result = await this.#resolveBreak(error)
      phases.commit = performance.now() - began - phases.pause - phases.drain - phases.residual
      return result
    })
    copying.paused(phases.pause + phases.drain)
    if (result.destination === null && this.#hasMemory) {
      // The hypervisor at the destination can't begin again.
      throw new BlockferryError('TIMEOUT', `the switchover was taken back: ${result.reason}`)
    }
    if (result.destination !== null) {
      this.#committed = true
      this.#disks.refuse()
      // What comes of it is looked at when the other side knows that we know.
      void this.#network.switchOver().catch(() => {})
      await this.#ownership!.moved()
    }
    return result
  }

  /** The link broke in the switchover. Before the commit message the disks are ours, and so they
   * are when the destination said that it has failed; else, after it, only that knows. */
  async #resolveBreak (thrown: unknown): Promise<SwitchoverResult> {
    const error = toBlockferryError(thrown)
    if (!this.#committing || this.#link.peerGaveUp || error.code === 'NOT_EQUAL') throw error
    const result = await committedAfterBreak(this.id, this.#options, this.#tls, this.#link.sender)
    if (result !== null) return result
    this.#committing = false
    throw error
  }

  /** The source goes on: writes flow, the machine runs. */
  async #takeBack (): Promise<void> {
    this.#committing = false
    this.#disks.open()
    await this.#machine?.takeBack(this.#link)
  }

  /** Leaves the source as it was, tells the destination, and names the error. */
  async #giveUp (thrown: unknown): Promise<BlockferryError> {
    const started = this.#copying !== null
    if ((thrown as BlockferryError)?.owner === 'unknown') return thrown as BlockferryError
    const details: ErrorDetails = { owner: this.#committed ? 'destination' : 'source', resumable: started }
    const error = toBlockferryError(thrown, details)
    // What breaks the link breaks the transfer of memory, too, and that may be the first to say so.
    const mayBeLink = error.code === 'MACHINE' && this.#hasMemory
    if (this.#committed) return error
    if (!mayBeLink) this.#tell(error)
    if (this.#disks === undefined) return error
    await this.#ownership?.kept()
    const second = await this.#undo()
    if (second !== null) {
      this.#tell(error)
      return toBlockferryError(second, details)
    }
    if (!mayBeLink) return error
    const cause = await this.#link.failure(kLinkFailureMs)
    this.#tell(error)
    return cause === null ? error : toBlockferryError(cause, details)
  }

  /** The machine goes on, and the network is as it was. Answers what could not be undone. */
  async #undo (): Promise<unknown> {
    let failure: unknown = null
    for (const step of [() => this.#takeBack(), () => this.#network.undo()]) {
      await step().catch((error: unknown) => { failure = error })
    }
    return failure
  }

  /** Tells the destination that it is over. */
  #tell (error: BlockferryError): void {
    if (this.#link === undefined || this.#link.broken) return
    if (error.code === 'CANCELLED') this.#link.send('cancel', { keep: this.#keepDestination })
    else this.#link.send('failed', { code: error.code, message: error.message })
  }

  async #orCancelled<T> (promise: Promise<T>): Promise<T> {
    return await Promise.race([promise, this.#cancelled])
  }
}
