// One migration at the source: connect, copy until the downtime budget is met, switch over.
import { randomUUID } from 'node:crypto'

import type { ErrorDetails } from '../errors.js'
import { BlockferryError, toBlockferryError } from '../errors.js'
import type { MachineDescription } from '../machine/machine.js'
import { isMemoryMachine } from '../machine/machine.js'
import type { Forecast } from '../policy/types.js'
import { askOutcome } from './ask-outcome.js'
import { Copying } from './copying.js'
import { EventStream } from './event-stream.js'
import type { MigrationEvent } from './events.js'
import { machineCall } from './machine-call.js'
import { MemoryTransfer } from './memory-transfer.js'
import { NetworkSteps } from './network-steps.js'
import type { CheckedMigrateOptions, MigrateOptions } from './options.js'
import { checkBudgets, checkMigrateOptions, sharedIn } from './options.js'
import type { DowntimePhases, Report } from './report.js'
import { Reporter } from './reporter.js'
import { Sampler } from './sampler.js'
import { SourceDisks } from './source-disks.js'
import { SourceLink } from './source-link.js'
import type { SwitchoverResult } from './switchover.js'
import { switchOver } from './switchover.js'

const kConnectMs = 10_000
const kLongestTimer = 2 ** 31 - 1
const kNoForecast: Forecast = { eta: null, predictedDowntimeMs: null, limitedBy: 'none', relax: null }

/** What a broken pause costs at most before it is taken back: twice the budget and this. */
const kResidualGraceMs = 1000

export class Migration extends EventStream<MigrationEvent> implements Promise<Report> {
  readonly [Symbol.toStringTag] = 'Migration'
  readonly id = randomUUID()
  readonly #result: Promise<Report>
  #options!: CheckedMigrateOptions
  #earlyLimits: NonNullable<MigrateOptions['budgets']> = {}
  #disks!: SourceDisks
  #link!: SourceLink
  #copying: Copying | null = null
  #paused = false
  #wanted = true
  /** It was paused, or its memory is being sent: it has to be told when that comes to nothing. */
  #machineTouched = false
  #memory: MemoryTransfer | null = null
  #network = new NetworkSteps(null)
  #committing = false
  #committed = false
  #keepDestination = true
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

  async #run (options: MigrateOptions): Promise<Report> {
    const unlisten = { signal: () => {} }
    try {
      // A caller can attach its listeners first.
      await Promise.resolve()
      this.#options = checkMigrateOptions(options)
      this.#network = new NetworkSteps(this.#options.network)
      this.setLimits(this.#earlyLimits)
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
      await this.#closeMachine()
      this.end()
    }
  }

  async #closeMachine (): Promise<void> {
    await this.#memory?.close()
    const machine = this.#options?.machine
    if (machine !== undefined && isMemoryMachine(machine)) await machine.close()
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
    const forgetDate = switchover instanceof Date ? atDate(switchover, () => this.switchover()) : () => {}
    try {
      const copying = await this.#connect()
      for (;;) {
        await this.#orCancelled(copying.untilReady())
        await this.#orCancelled(this.#sendMemory(copying))
        const phases = { pause: 0, drain: 0, residual: 0, commit: 0 }
        const result = await this.#switchOver(copying, phases)
        if (result.destination !== null) {
          this.#link.send('bye', {})
          await this.#network.switchOver()
          return copying.reporter.report(result, phases, copying.sampler)
        }
        await this.#takeBack()
        this.emit({ event: 'resumed', reason: result.reason })
        await this.#orCancelled(result.settled)
      }
    } finally {
      forgetDate()
    }
  }

  async #connect (): Promise<Copying> {
    const { host, port, streams, equality, linkTimeoutMs } = this.#options
    const link = new SourceLink(linkTimeoutMs, () => this.#copying?.bulkDone())
    this.#link = link
    const machine = await this.#orCancelled(this.#prepareMachine())
    await this.#orCancelled(this.#network.prepare())
    await this.#orCancelled(link.connect(host, port, Math.min(kConnectMs, linkTimeoutMs)))
    const disks = this.#disks.taps.map(({ name, tap }) => (
      { name, size: tap.size, blockSize: this.#options.blockSize }))
    const offer = { migration: this.id, disks, streams, equality, machine }
    const accepted = await this.#orCancelled(link.ask('offer', offer, 'accept'))
    await this.#orCancelled(this.#network.verify())
    for (const [index, { tap }] of this.#disks.taps.entries()) {
      link.sender.addDisk(tap.native, accepted.disks[index]?.blank ?? false)
    }
    await this.#orCancelled(link.openStreams(streams))
    const copying = new Copying({
      link,
      disks: this.#disks,
      options: this.#options,
      reporter: new Reporter(this.id, this.#disks, equality),
      sampler: new Sampler(link.sender, this.#disks),
      emit: (event) => this.emit(event)
    })
    copying.pause(this.#paused)
    if (this.#wanted) copying.want()
    this.#copying = copying
    this.emit({ event: 'started', disks: disks.map(({ name, size }) => ({ name, bytes: size })) })
    link.sender.start()
    return copying
  }

  async #prepareMachine (): Promise<MachineDescription | null> {
    const { machine } = this.#options
    return isMemoryMachine(machine) ? await machineCall('prepare', () => machine.prepare()) : null
  }

  /** Sends the memory of a machine that has some to move, until it has paused itself. */
  async #sendMemory (copying: Copying): Promise<void> {
    const { machine, compression } = this.#options
    if (!isMemoryMachine(machine)) return
    const memory = new MemoryTransfer(
      machine, this.#link.sender, compression, (progress) => this.emit({ event: 'memory', ...progress }))
    this.#memory = memory
    await this.#link.ask('memory', {}, 'memoryReady')
    this.#machineTouched = true
    await memory.begin(copying.memorySituation(), () => copying.wake())
    await copying.untilPaused(memory)
  }

  async #switchOver (copying: Copying, phases: DowntimePhases): Promise<SwitchoverResult> {
    await this.#orCancelled(copying.settle())
    copying.reporter.attempt()
    const began = performance.now()
    const { downtimeMs } = this.#options.budgets
    const result = await switchOver({
      link: this.#link,
      disks: this.#disks,
      machine: this.#options.machine,
      memory: this.#memory,
      residualLimitMs: 2 * downtimeMs + kResidualGraceMs,
      phases,
      cancelled: this.#cancelled,
      committing: () => { this.#committing = true },
      step: (step) => {
        this.#machineTouched = true
        this.emit({ event: 'switchover', step })
      }
    }).catch(async (error: unknown) => {
      const result = await this.#resolveBreak(error)
      phases.commit = performance.now() - began - phases.pause - phases.drain - phases.residual
      return result
    })
    copying.paused(phases.pause + phases.drain)
    if (result.destination === null && this.#memory !== null) {
      // The hypervisor at the destination can't begin again.
      throw new BlockferryError('TIMEOUT', `the switchover was taken back: ${result.reason}`)
    }
    if (result.destination !== null) {
      this.#committed = true
      this.#disks.refuse()
      // What comes of it is looked at when the other side knows that we know.
      void this.#network.switchOver().catch(() => {})
    }
    return result
  }

  /** The link broke in the switchover. Before the commit message the disks are ours, and so they
   * are when the destination said that it has failed; else, after it, only that knows. */
  async #resolveBreak (thrown: unknown): Promise<SwitchoverResult> {
    const error = toBlockferryError(thrown)
    if (!this.#committing || this.#link.peerGaveUp || error.code === 'NOT_EQUAL') throw error
    const source = this.#disks.taps.map((_tap, index) => this.#link.sender.digest(index))
    const { host, port, linkTimeoutMs } = this.#options
    const outcome = await askOutcome({
      host, port, migration: this.id, linkTimeoutMs, patienceMs: 3 * linkTimeoutMs
    })
    if (!outcome.committed) {
      this.#committing = false
      throw error
    }
    return { destination: outcome.digests, source, reason: '', settled: Promise.resolve() }
  }

  /** The source goes on: writes flow, the machine runs. */
  async #takeBack (): Promise<void> {
    this.#committing = false
    this.#disks.open()
    if (!this.#machineTouched) return
    this.#machineTouched = false
    const { machine } = this.#options
    await machineCall('resume', () => machine.resume?.())
  }

  /** Leaves the source as it was, tells the destination, and names the error. */
  async #giveUp (thrown: unknown): Promise<BlockferryError> {
    const started = this.#copying !== null
    if ((thrown as BlockferryError)?.owner === 'unknown') return thrown as BlockferryError
    const details: ErrorDetails = { owner: this.#committed ? 'destination' : 'source', resumable: started }
    let error = toBlockferryError(thrown, details)
    if (this.#link !== undefined && !this.#link.broken && !this.#committed) {
      if (error.code === 'CANCELLED') {
        this.#link.send('cancel', { keep: this.#keepDestination })
      } else {
        this.#link.send('failed', { code: error.code, message: error.message })
      }
    }
    if (this.#committed) return error
    for (const step of [() => this.#takeBack(), () => this.#network.undo()]) {
      try {
        if (this.#disks !== undefined) await step()
      } catch (second) {
        error = toBlockferryError(second, details)
      }
    }
    return error
  }

  async #orCancelled<T> (promise: Promise<T>): Promise<T> {
    return await Promise.race([promise, this.#cancelled])
  }
}

/** Calls at a date, however far away; the result forgets about it. */
function atDate (date: Date, call: () => void): () => void {
  let timer: NodeJS.Timeout
  const arm = () => {
    const ms = date.getTime() - Date.now()
    timer = ms > kLongestTimer ? setTimeout(arm, kLongestTimer) : setTimeout(call, Math.max(0, ms))
  }
  arm()
  return () => clearTimeout(timer)
}
