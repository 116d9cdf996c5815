import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

import type { DestinationReport } from './migration/report.js'
import { BlockferryError, toBlockferryError } from './errors.js'
import { EventStream } from './migration/event-stream.js'
import type { ReceiveEvent } from './migration/events.js'
import type { IncomingHost, Outcome } from './migration/incoming.js'
import { Incoming } from './migration/incoming.js'
import type { CheckedReceiveOptions, ReceiveOptions } from './migration/options.js'
import { checkReceiveOptions } from './migration/options.js'
import type { TargetDisks } from './migration/target-disks.js'
import { isMemoryMachine } from './machine/machine.js'
import type { NativeMigrationListener, NativeSession } from './native.js'
import { native } from './native.js'
import { Tap } from './tap.js'

/** Outcomes are remembered for sources that lost the link. */
const kMaxOutcomes = 1000
/** How long a disk that another migration holds is waited for. */
const kLetGoMs = 2000

/** Waits for migrations; each disk is owned here when its migration has committed. */
export class Receiver extends EventStream<ReceiveEvent> implements AsyncDisposable {
  readonly #options: CheckedReceiveOptions
  readonly #listener: NativeMigrationListener
  readonly #incoming = new Set<Incoming>()
  readonly #outcomes = new Map<string, Outcome>()
  readonly #taps = new Map<string, Tap>()
  readonly #host: IncomingHost
  #address = { host: '', port: 0 }
  #resumed: Array<Promise<void>> = []
  /** Committed, and the source may not know it yet. */
  readonly #unheard = new Set<string>()
  #onHeard: () => void = () => {}
  #closing: Promise<void> | null = null
  #resolveDone!: (report: DestinationReport) => void
  #rejectDone!: (error: BlockferryError) => void
  /** The first migration that commits; rejects (CLOSED) when the receiver is closed before. */
  readonly done: Promise<DestinationReport>

  /** For receive(). */
  constructor (options: CheckedReceiveOptions) {
    super()
    this.#options = options
    this.done = new Promise((resolve, reject) => {
      this.#resolveDone = resolve
      this.#rejectDone = reject
    })
    this.done.catch(() => {})
    this.#host = this.#makeHost()
    this.#listener = new native.MigrationListener(
      { linkTimeoutMs: options.linkTimeoutMs },
      (_event, session: NativeSession) => this.#welcome(session))
  }

  #welcome (session: NativeSession): void {
    if (this.#closing !== null) void session.close()
    else this.#incoming.add(new Incoming(session, this.#host))
  }

  /** For receive(). */
  async open (): Promise<void> {
    const { host, port, signal, disks } = this.#options
    for (const { target } of disks) if (target instanceof Tap) target.refuse()
    try {
      this.#address = await this.#listener.listen(host, port)
    } catch (error) {
      await this.close()
      throw toBlockferryError(error)
    }
    signal?.addEventListener('abort', () => { void this.close() }, { once: true })
    this.emit({ event: 'listening', ...this.#address })
    if (signal?.aborted) await this.close()
  }

  /** Where it listens, with the port it got. */
  get address (): { host: string, port: number } {
    return this.#address
  }

  /** The taps of the disks that are owned here, by name. Whoever takes one over closes it. */
  get taps (): ReadonlyMap<string, Tap> {
    return this.#taps
  }

  /** Stops listening; ends migrations that have not committed (their sources go on alone). Taps
   * that are owned here stay open. Idempotent. */
  close (): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose] (): Promise<void> {
    return this.close()
  }

  async #close (): Promise<void> {
    await Promise.all([...this.#incoming].map((incoming) => incoming.close()))
    await this.#untilHeard()
    await this.#listener.close()
    await Promise.all(this.#resumed)
    this.#rejectDone(new BlockferryError('CLOSED', 'the receiver was closed'))
    this.end()
  }

  #heard (migration: string): void {
    this.#unheard.delete(migration)
    this.#onHeard()
  }

  /** A source that lost the link just when the commit was answered will ask. */
  async #untilHeard (): Promise<void> {
    const timeout = AbortSignal.timeout(this.#options.linkTimeoutMs)
    const late = once(timeout, 'abort')
    while (this.#unheard.size > 0 && !timeout.aborted) {
      await Promise.race([late, new Promise<void>((resolve) => { this.#onHeard = resolve })])
    }
  }

  #makeHost (): IncomingHost {
    return {
      options: this.#options,
      freed: (names) => this.#freed(names),
      outcomeOf: (migration) => this.#outcomeOf(migration),
      started: (incoming) => this.emit({
        event: 'started', migration: incoming.migration!, disks: incoming.disks
      }),
      committed: (incoming, disks, run) => this.#committed(incoming, disks, run),
      heard: (incoming) => this.#heard(incoming.migration!),
      failed: (incoming, error) => {
        this.#remember(incoming, { committed: false, digests: [] })
        this.emit({ event: 'failed', migration: incoming.migration, error })
      },
      ended: (incoming) => { this.#ended(incoming) }
    }
  }

  /** A source that gives up and tries again is often quicker than the end of its old connection:
   * who holds a disk that is wanted gets a little time to let go. */
  async #freed (names: readonly string[]): Promise<void> {
    const holders = [...this.#incoming].filter(({ disks, outcome }) => (
      !outcome.committed && disks.some(({ name }) => names.includes(name))))
    const gone = Promise.all(holders.map(({ ended }) => ended))
    if (holders.length > 0) await Promise.race([gone, sleep(kLetGoMs, undefined, { ref: false })])
  }

  #outcomeOf (migration: string): Outcome | null {
    for (const incoming of this.#incoming) {
      if (incoming.migration !== migration) continue
      incoming.end(new BlockferryError('PEER_GONE', 'the source lost the link'))
      return incoming.outcome
    }
    this.#heard(migration)
    return this.#outcomes.get(migration) ?? null
  }

  #remember (incoming: Incoming, outcome: Outcome): void {
    if (incoming.migration === null) return
    this.#outcomes.set(incoming.migration, outcome)
    if (this.#outcomes.size > kMaxOutcomes) this.#outcomes.delete(this.#outcomes.keys().next().value!)
  }

  #committed (incoming: Incoming, disks: TargetDisks, run: boolean): void {
    const migration = incoming.migration!
    this.#remember(incoming, incoming.outcome)
    this.#unheard.add(migration)
    const resumed = Promise.all([
      this.#resumeMachine(migration, run), this.#switchNetwork(migration, incoming)
    ])
    for (const { tap } of disks.taps) {
      this.#taps.set(tap.name, tap)
      this.#serve(migration, tap)
    }
    this.emit({ event: 'committed', migration })
    const report = incoming.report()
    this.#resumed.push(resumed.then(() => {
      this.emit({ event: 'done', migration, report })
      this.#resolveDone(report)
    }))
  }

  /** A name that is taken there, or a server that is closed, does not undo the commit. */
  #serve (migration: string, tap: Tap): void {
    try {
      this.#options.serve?.add(tap)
    } catch (thrown) {
      const error = toBlockferryError(thrown, { owner: 'destination' })
      this.emit({ event: 'failed', migration, error })
    }
  }

  /** The disks are here whatever the machine does: its failure is told, and no more. */
  async #resumeMachine (migration: string, run: boolean): Promise<void> {
    const { machine } = this.#options
    try {
      if (run) await machine.resume?.()
      if (isMemoryMachine(machine)) await machine.close()
    } catch (cause) {
      const words = cause instanceof Error ? cause.message : String(cause)
      const error = new BlockferryError('MACHINE', `resume() of the machine failed: ${words}`, {
        owner: 'destination', cause
      })
      this.emit({ event: 'failed', migration, error })
    }
  }

  /** So is the network's: the machine runs here. */
  async #switchNetwork (migration: string, incoming: Incoming): Promise<void> {
    try {
      await incoming.switchNetwork()
    } catch (thrown) {
      const error = toBlockferryError(thrown, { owner: 'destination' })
      this.emit({ event: 'failed', migration, error })
    }
  }

  #ended (incoming: Incoming): void {
    if (this.#incoming.delete(incoming)) void incoming.close()
  }
}

/**
 * Listens for migrations of the disks it is told of. What a disk's target holds is overwritten.
 *
 * Errors: INVALID, ADDRESS_IN_USE, NO_PERMISSION. What is wrong with a target shows when a source
 * offers the disk: the source gets the error, the receiver a `failed` event, and it goes on.
 */
export async function receive (options: ReceiveOptions): Promise<Receiver> {
  const receiver = new Receiver(checkReceiveOptions(options))
  await receiver.open()
  return receiver
}
