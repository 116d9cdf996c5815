// Copying until a switchover would meet the budget: samples to the policy, its decisions to the
// sender and the taps, checkpoints now and then.
import { BlockferryError } from '../base/errors.js'
import type { State } from '../policy/convergence.js'
import { decide, initialState, withBudgets, withoutThrottle } from '../policy/convergence.js'
import type { Budgets, Decision, Forecast } from '../policy/types.js'
import type { MigrationEvent } from '../session/events.js'
import type { CheckedMigrateOptions } from './options.js'
import type { Reporter } from './reporter.js'
import type { MemoryTransfer, PlannedSituation } from './memory-transfer.js'
import type { Sampler } from './sampler.js'
import type { SourceDisks } from './disks.js'
import type { SourceLink } from './link.js'
import type { SourceMachine } from './machine.js'

const kTickMs = 50
const kCheckpointMs = 500
/** Saving a machine's devices and loading them again. */
const kMachineMs = 50
/** While the machine may pause itself at any moment: a checkpoint that runs then delays the last. */
const kRareCheckpointMs = 2000
const kUsualPauseMs = 10
const kPauseHalfLifeMs = 5000

export interface CopyingNeeds {
  link: SourceLink
  disks: SourceDisks
  options: CheckedMigrateOptions
  /** Those of now. */
  budgets: Budgets
  reporter: Reporter
  sampler: Sampler
  machine: SourceMachine
  emit: (event: MigrationEvent) => void
}

export class Copying {
  readonly reporter: Reporter
  readonly sampler: Sampler
  readonly #needs: CopyingNeeds
  #budgets: Budgets
  #policy: State
  #decision: Decision | null = null
  #bulkDone = false
  #paused = false
  #wanted = false
  #checkpoint: Promise<void> | null = null
  /** What one costs in the tail; null until that is known. */
  #checkpointMs: number | null = null
  #caughtUp = false
  #checkpointAt = 0
  #checkpointEveryMs = kCheckpointMs
  /** What stopping the writers took when it was tried last, and when that was. */
  #lastPause = { ms: kUsualPauseMs, at: 0 }
  #round = 0
  #said = { throttled: false, infeasible: '', ready: false }
  #wake: () => void = () => {}

  constructor (needs: CopyingNeeds) {
    const { link: { sender }, disks, budgets, options: { compression } } = needs
    const throttle = disks.canThrottle ? needs.options.throttle : 'none'
    this.#needs = needs
    this.reporter = needs.reporter
    this.sampler = needs.sampler
    this.#budgets = budgets
    this.#policy = initialState(budgets, { throttle })
    sender.setBandwidth(budgets.bandwidth ?? 0)
    if (needs.options.sharedBandwidth !== null) sender.shareBandwidth(needs.options.sharedBandwidth.native)
    sender.setCompression(compression === 'on' ? 1 : 0)
  }

  get forecast (): Forecast | null {
    return this.#decision?.forecast ?? null
  }

  setBudgets (budgets: Budgets): void {
    this.#budgets = budgets
    this.#policy = withBudgets(this.#policy, budgets)
    this.#needs.link.sender.setBandwidth(budgets.bandwidth ?? 0)
  }

  holdSending (on: boolean): void {
    this.#paused = on
    this.#needs.link.sender.pause(on)
    this.#wake()
  }

  /** A switchover is wanted as soon as it meets the budget. */
  want (): void {
    this.#wanted = true
    this.#wake()
  }

  /** Every block was claimed once. */
  bulkDone (): void {
    this.#bulkDone = true
    this.#wake()
  }

  /** A switchover was tried: so long it took to stop the writers, ms. */
  recordPause (ms: number): void {
    this.#lastPause = { ms: Math.max(1, ms), at: performance.now() }
  }

  /** What stopping them is expected to take. A slow pause is forgotten in time: were it not, one
   * of them could keep a switchover from ever being tried again. */
  #pauseMs (): number {
    const { ms, at } = this.#lastPause
    if (ms <= kUsualPauseMs) return ms
    return Math.max(kUsualPauseMs, ms * 2 ** ((at - performance.now()) / kPauseHalfLifeMs))
  }

  /** Waits for a checkpoint that is running. */
  async untilCheckpoint (): Promise<void> {
    if (this.#checkpoint !== null) await this.#checkpoint
  }

  /** Resolves when a switchover now would meet the budget, with a fresh checkpoint behind it. */
  async untilReady (): Promise<void> {
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

  /** Goes on copying beside the machine's memory, until the machine has paused itself. */
  async untilPaused (memory: MemoryTransfer): Promise<void> {
    this.#checkpointEveryMs = kRareCheckpointMs
    while (!memory.paused) {
      this.#tick()
      memory.plan(this.memorySituation())
      await this.#sleep()
    }
  }

  memorySituation (): PlannedSituation {
    return {
      link: this.#decision?.link ?? null,
      roundTripMs: this.sampler.roundTripMs(),
      downtimeMs: this.#budgets.downtimeMs,
      predictedDowntimeMs: this.forecast?.predictedDowntimeMs ?? null,
      disksReady: this.#isReady()
    }
  }

  /** Looks again at once. */
  wake (): void {
    this.#wake()
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
      await Promise.race([woken, this.#needs.link.failed])
    } finally {
      clearTimeout(timer)
    }
  }

  #tick (): void {
    this.#needs.disks.check()
    const sample = this.sampler.take({
      bulkDone: this.#bulkDone,
      checkpointMs: this.#checkpointMs,
      pauseMs: this.#pauseMs(),
      machineMs: this.#needs.machine.movesMemory ? kMachineMs : 0,
      memoryAhead: this.#needs.machine.memoryAhead,
      wanted: this.#wanted,
      paused: this.#paused
    })
    const { state, decision: proposed } = decide(this.#policy, sample)
    this.#policy = state
    const decision = this.#throttle(proposed)
    this.#decision = decision
    this.#apply(decision)
    this.#beginRound(sample.round, sample.unsent)
    this.#tell(decision)
    this.#checkDeadline()
    this.#needs.emit(this.reporter.progress(sample, decision, this.sampler))
    if (this.#checkpoint === null && this.#checkpointIsDue()) {
      this.#checkpointNow().catch(() => {}) // its failure is the session's
    }
  }

  /** Now and then; and at once after the bulk copy, until it is known what one costs. */
  #checkpointIsDue (): boolean {
    const unknown = this.#bulkDone && this.#checkpointMs === null
    return unknown || performance.now() - this.#checkpointAt > this.#checkpointEveryMs
  }

  /** A tap in the kernel may find out only now that nothing can slow its writers: then they run free,
   * and the forecast says what that means. */
  #throttle (decision: Decision): Decision {
    const { disks } = this.#needs
    try {
      disks.throttle(decision.throttle)
      return decision
    } catch {
      disks.throttle(null)
      this.#policy = withoutThrottle(this.#policy)
      return { ...decision, throttle: null }
    }
  }

  #apply (decision: Decision): void {
    const { sender } = this.#needs.link
    this.reporter.throttled(decision.throttle !== null)
    sender.setDefer(Math.min(decision.deferMs, 2 ** 31))
    sender.setMaxExtent(decision.maxExtent)
    sender.setMaxInFlight(Number.isFinite(decision.maxInFlight) ? decision.maxInFlight : 0)
    if (this.#needs.options.compression === 'auto' && this.reporter.linkIsSlow()) sender.setCompression(1)
  }

  #beginRound (round: number, remainingBytes: number): void {
    if (round <= this.#round) return
    this.#round = round
    this.#needs.disks.beginRound()
    const { content, zero, same } = this.sampler.totals()
    const sentBytes = content + zero + same
    this.#needs.emit({
      event: 'round', round, elapsedMs: this.reporter.elapsedMs, sentBytes, remainingBytes
    })
  }

  /** Says what changed since the last decision. */
  #tell ({ throttle, infeasible, fits, forecast }: Decision): void {
    if (this.#said.throttled !== (throttle !== null)) {
      this.#said.throttled = throttle !== null
      this.#needs.emit({ event: 'throttle', bytesPerSecond: throttle?.bytesPerSecond ?? null })
    }
    const words = infeasible === null
      ? ''
      : `${infeasible.budget} ${Math.round(Math.log2(infeasible.feasible) * 2)}`
    if (words !== this.#said.infeasible) {
      this.#said.infeasible = words
      if (infeasible !== null) this.#needs.emit({ event: 'infeasible', infeasible })
    }
    if (fits && this.#bulkDone && !this.#wanted && !this.#said.ready) {
      this.#said.ready = true
      this.#needs.emit({ event: 'ready', forecast })
    }
  }

  #checkDeadline (): void {
    const { deadlineMs } = this.#budgets
    if (deadlineMs === undefined || this.reporter.elapsedMs <= deadlineMs) return
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
    this.#checkpoint = this.#needs.link.checkpoint().then(({ wrong, tookUs }) => {
      this.#checkpoint = null
      if (this.#caughtUp) this.#checkpointMs = tookUs / 1000
      this.#caughtUp ||= inTail
      this.#wake()
      this.#needs.link.markAgain(wrong)
    })
    await this.#checkpoint
  }
}
