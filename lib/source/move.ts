// A migration whose options are known and whose disks are open: connect, copy until the downtime budget is met,
// switch over; over a new link when one is lost.
import { setTimeout as sleep } from 'node:timers/promises'

import { BlockferryError, toBlockferryError } from '../base/errors.js'
import { inTurn } from '../base/in-turn.js'
import { loadTls } from '../base/tls.js'
import type { NativeTrust } from '../native/types.js'
import { partOf } from '../ownership/journal.js'
import { knownSizes } from '../ownership/known-sizes.js'
import { SourceOwnership } from '../ownership/source-ownership.js'
import type { Forecast } from '../policy/types.js'
import type { MigrationEvent } from '../session/events.js'
import { machineGone } from '../session/machine-call.js'
import { isLinkLoss, Reconnecting } from '../session/link-loss.js'
import { NetworkSteps } from '../session/network-steps.js'
import type { Report } from '../session/report.js'
import type { Commands } from './commands.js'
import { committedAfterBreak } from './committed-after-break.js'
import { Copying } from './copying.js'
import { SourceDisks } from './disks.js'
import { SourceLink } from './link.js'
import { SourceMachine } from './machine.js'
import type { CheckedMigrateOptions } from './options.js'
import { canPause } from './options.js'
import { SourcePhase } from './phase.js'
import { planOf } from './plan.js'
import { Reporter } from './reporter.js'
import { Sampler } from './sampler.js'
import { Separation } from './separation.js'
import { switchOver } from './switchover.js'

const kConnectMs = 10_000

/** How long the link may take to break after the memory that travels on it, ms. */
const kLinkFailureMs = 1000
/** How often disks are compared as a whole because a tap may have missed writes. */
const kMaxComparisons = 3

/** What a migration has from its begin to its end. */
interface MoveParts {
  migration: string
  options: CheckedMigrateOptions
  commands: Commands
  emit: (event: MigrationEvent) => void
  phase: SourcePhase
  trust: NativeTrust
  machine: SourceMachine
  disks: SourceDisks
  ownership: SourceOwnership
}

export class Move {
  readonly #parts: MoveParts
  readonly #network: NetworkSteps
  #link: SourceLink | null = null
  #copying: Copying | null = null
  #reporter: Reporter | null = null
  #comparisons = 0

  private constructor (parts: MoveParts) {
    this.#parts = parts
    this.#network = new NetworkSteps(parts.options.network)
  }

  /** Opens the disks, and makes it durable that they are being copied. */
  static async open (
    migration: string, options: CheckedMigrateOptions, commands: Commands, emit: (event: MigrationEvent) => void
  ): Promise<Move> {
    const { journal, throttle, tls, blockSize } = options
    const phase = new SourcePhase()
    const machine = new SourceMachine(options, (reason) => {
      if (phase.is('copying', 'pausing')) commands.cancel(machineGone(reason))
    })
    let disks: SourceDisks | null = null
    try {
      const trust = await loadTls(tls, { connects: true })
      const sizes = await knownSizes(journal, options.disks)
      disks = await SourceDisks.open(options.disks, sizes, blockSize, canPause(options.machine))
      await disks.checkOptions(throttle, typeof journal === 'string' ? journal : journal?.path)
      const ownership = await SourceOwnership.begin(
        journal, migration, planOf({ ...options, budgets: commands.budgets }), disks.taps.map(({ tap }) => partOf(tap)))
      return new Move({ migration, options, commands, emit, phase, trust, machine, disks, ownership })
    } catch (error) {
      await inTurn(async () => await disks?.close())
      throw error
    }
  }

  get forecast (): Forecast | null {
    return this.#copying?.forecast ?? null
  }

  /** The destination may own the disks, or does: too late to cancel. */
  get isDecided (): boolean {
    return this.#parts.phase.is('deciding', 'moved', 'unknown')
  }

  /** Goes on over a new link when one is lost: the destination tells what it has. */
  async run (): Promise<Report> {
    const { options, disks, emit } = this.#parts
    const reconnecting = new Reconnecting(options.reconnectMs)
    for (;;) {
      try {
        const [link, copying] = await this.#connect()
        reconnecting.connected()
        return await this.#copyAndSwitchOver(link, copying)
      } catch (thrown) {
        const error = toBlockferryError(thrown)
        const compare = this.#mustCompareAfter(error)
        const waitMs = compare ? 0 : this.#mayGoOnAfter(error) ? reconnecting.next() : null
        if (waitMs === null) throw error
        await this.#disconnect()
        if (compare) await disks.beginAgain()
        emit({ event: 'reconnecting', error, waitMs })
        await this.#unlessCancelled(sleep(waitMs))
      }
    }
  }

  /** Leaves the source as it was, if it is its own, tells the destination, and names the error. */
  async giveUp (thrown: unknown): Promise<BlockferryError> {
    const { phase, ownership } = this.#parts
    const error = toBlockferryError(thrown)
    if (phase.is('deciding') && error.owner === 'unknown') phase.to('unknown')
    if (phase.is('moved', 'unknown')) return this.#named(error)
    // What breaks the link breaks the transfer of memory, too, and that may be the first to say so.
    const mayBeLink = error.code === 'MACHINE' && this.#hasMemory
    if (!mayBeLink) this.#tell(error)
    phase.to('kept')
    await ownership.kept()
    const second = await this.#undo()
    if (second !== null) {
      this.#tell(error)
      return this.#named(toBlockferryError(second))
    }
    if (!mayBeLink) return this.#named(error)
    const cause = await this.#link?.failure(kLinkFailureMs) ?? null
    this.#tell(error)
    return this.#named(cause ?? error)
  }

  /** What can't be closed does not change whose the disks are. */
  async close (): Promise<void> {
    const { disks, ownership, machine } = this.#parts
    await inTurn(
      async () => await this.#link?.close(),
      async () => await disks.close(),
      async () => await ownership.close(),
      async () => await machine.close())
  }

  async #connect (): Promise<[SourceLink, Copying]> {
    const { migration, options, trust, machine, disks, ownership, emit, commands } = this.#parts
    const { host, port, streams, equality, reuse, linkTimeoutMs, blockSize } = options
    commands.check()
    const link = new SourceLink(linkTimeoutMs, trust, () => this.#copying?.bulkDone())
    this.#link = link
    const description = await this.#unlessCancelled(machine.prepare())
    await this.#unlessCancelled(this.#network.prepare())
    await this.#unlessCancelled(link.connect(host, port, Math.min(kConnectMs, linkTimeoutMs)))
    const offered = await this.#unlessCancelled(disks.offer(blockSize, ownership.epochs))
    const offer = { migration, disks: offered, streams, equality, reuse, machine: description }
    const accepted = await this.#unlessCancelled(link.ask('offer', offer, 'accept'))
    await this.#unlessCancelled(this.#network.verify())
    for (const [index, { tap }] of disks.taps.entries()) {
      link.sender.addDisk(tap.native, accepted.disks[index] ?? {})
    }
    await this.#unlessCancelled(link.openStreams(streams))
    if (accepted.disks.some(({ inventory }) => inventory)) await this.#unlessCancelled(link.openInventory())
    const isFirst = this.#reporter === null
    const reporter = this.#reporter ??= new Reporter(migration, disks, equality)
    const sampler = new Sampler(link.sender, disks)
    const copying = new Copying({ link, disks, options, budgets: commands.budgets, machine, reporter, sampler, emit })
    this.#copying = copying
    commands.tell(copying)
    emit(isFirst ? { event: 'started', disks: disks.sizes() } : { event: 'reconnected' })
    const separation = new Separation(link, disks.taps.map(({ tap }) => tap), options, accepted.disks)
    link.carry(separation.prove().catch((error: unknown) => {
      if (link.broken) return
      if (isLinkLoss(error)) link.lose(error)
      else commands.cancel(toBlockferryError(error))
    }))
    link.sender.start()
    return [link, copying]
  }

  async #copyAndSwitchOver (link: SourceLink, copying: Copying): Promise<Report> {
    const { phase, machine, disks, ownership, emit } = this.#parts
    for (;;) {
      await this.#unlessCancelled(copying.untilReady())
      disks.check()
      await this.#unlessCancelled(disks.checkOpeners())
      await this.#unlessCancelled(machine.sendMemory(
        link, () => copying.memorySituation(), () => copying.wake(), emit))
      if (machine.memory !== null) await this.#unlessCancelled(copying.untilPaused(machine.memory))
      await this.#unlessCancelled(disks.checkOpeners())
      const { outcome, phases } = await this.#switchOver(link, copying)
      if (outcome.moved) {
        link.send('bye', {})
        await machine.release()
        await outcome.networkSwitched
        return copying.reporter.report(outcome.digests, phases, copying.sampler)
      }
      if (machine.memory !== null) {
        // The hypervisor at the destination can't begin again.
        throw new BlockferryError('TIMEOUT', `the switchover was taken back: ${outcome.reason}`)
      }
      phase.to('copying')
      await ownership.copying()
      await this.#release()
      emit({ event: 'resumed', reason: outcome.reason })
      await this.#unlessCancelled(outcome.verified)
    }
  }

  async #switchOver (link: SourceLink, copying: Copying): ReturnType<typeof switchOver> {
    const { migration, options, phase, trust, machine, disks, ownership, commands, emit } = this.#parts
    copying.reporter.attempt()
    return await switchOver({
      phase,
      link,
      disks,
      machine,
      copying,
      ownership,
      network: this.#network,
      commands,
      linkTimeoutMs: options.linkTimeoutMs,
      tell: (step) => emit({ event: 'switchover', step }),
      askAfterBreak: async () => await committedAfterBreak(migration, options, trust, link.sender)
    })
  }

  /** Its memory is under way, or there. */
  get #hasMemory (): boolean {
    return this.#parts.machine.memory !== null
  }

  /** Not when the destination may own the disks, and not when its hypervisor has begun to take memory in: that
   * can't begin again. */
  get #mayBeginAgain (): boolean {
    return this.#parts.phase.is('copying', 'pausing') && !this.#hasMemory
  }

  /** Not before there was a link, and not for what is the source's own. */
  #mayGoOnAfter (error: BlockferryError): boolean {
    return isLinkLoss(error) && error.owner === null && this.#copying !== null && this.#mayBeginAgain
  }

  /** The marks are not to be relied on. Begun again, both sides are compared as a whole, by their
   * hashes (`reuse`), or all is sent once more. */
  #mustCompareAfter ({ code }: BlockferryError): boolean {
    return code === 'UNACCOUNTED' && this.#mayBeginAgain && this.#comparisons++ < kMaxComparisons
  }

  /** The writers go on as if nothing had happened. */
  async #disconnect (): Promise<void> {
    const { phase, disks, ownership } = this.#parts
    phase.to('copying')
    disks.throttle(null)
    await ownership.copying()
    await this.#release()
    await this.#link?.close()
  }

  /** Writes flow, the machine runs. */
  async #release (): Promise<void> {
    const { disks, machine } = this.#parts
    disks.open()
    await machine.takeBack(this.#link)
  }

  /** The machine goes on, and the network is as it was. Answers what could not be undone. */
  async #undo (): Promise<unknown> {
    let failure: unknown = null
    for (const step of [() => this.#release(), () => this.#network.undo()]) {
      await step().catch((error: unknown) => { failure = error })
    }
    return failure
  }

  /** Whose the disks are is what the phase says, whatever the error does. */
  #named (error: BlockferryError): BlockferryError {
    const { phase } = this.#parts
    const owner = phase.is('moved') ? 'destination' : phase.is('unknown') ? 'unknown' : 'source'
    if (error.owner === owner) return error
    const { code, message, errno } = error
    const resumable = error.resumable || this.#copying !== null
    return new BlockferryError(code, message, { owner, resumable, errno, cause: error.cause ?? error })
  }

  /** Tells the destination that it is over. */
  #tell (error: BlockferryError): void {
    if (this.#link === null || this.#link.broken) return
    if (error.code === 'CANCELLED') this.#link.send('cancel', { keep: this.#parts.commands.keepsDestination })
    else this.#link.send('failed', { code: error.code, message: error.message })
  }

  async #unlessCancelled<T> (promise: Promise<T>): Promise<T> {
    return await Promise.race([promise, this.#parts.commands.cancelled])
  }
}
