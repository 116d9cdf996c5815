// Where migrations come in: who may begin, who holds which disks, what became of whom, and what follows a commit.
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

import type { DestinationReport } from '../session/report.js'
import { BlockferryError, toBlockferryError } from '../base/errors.js'
import { EventStream } from '../base/event-stream.js'
import type { ReceiveEvent } from '../session/events.js'
import { machineCall } from '../session/machine-call.js'
import { askLimitMs } from '../session/time-limits.js'
import type { SessionContext } from './session-context.js'
import { DestinationSession } from './session.js'
import type { CheckedReceiveOptions } from './options.js'
import type { Outcome } from './outcomes.js'
import { anothers, Outcomes } from './outcomes.js'
import { RefusedConnections } from './refused-connections.js'
import type { DestinationDisks } from './disks.js'
import { isMemoryMachine } from '../machine/machine.js'
import { Journal } from '../ownership/journal.js'
import type { NativeMigrationListener, NativeRefusal, NativeSession, NativeTrust } from '../native/types.js'
import { native } from '../native/addon.js'
import { Tap } from '../tap/tap.js'

/** How long a disk that another migration holds is waited for. */
const kLetGoMs = 2000

/** Waits for migrations; each disk is owned here when its migration has committed. */
export class Receiver extends EventStream<ReceiveEvent> implements AsyncDisposable {
  readonly #options: CheckedReceiveOptions
  readonly #listener: NativeMigrationListener
  readonly #sessions = new Set<DestinationSession>()
  readonly #outcomes = new Outcomes(() => this.#journal)
  readonly #taps = new Map<string, Tap>()
  readonly #refusals = new RefusedConnections((event) => this.emit(event))
  readonly #context: SessionContext<DestinationSession>
  #journal: Journal | null = null
  #address = { host: '', port: 0 }
  #resumed: Array<Promise<void>> = []
  /** Committed, and the source may not know it yet. */
  readonly #unheard = new Set<string>()
  /** Given up when the link broke at the very end: the source may ask. */
  readonly #lost = new Set<string>()
  #onHeard: () => void = () => {}
  #waitsForLost = false
  #closing: Promise<void> | null = null
  #resolveDone!: (report: DestinationReport) => void
  #rejectDone!: (error: BlockferryError) => void
  /** The first migration that commits; rejects (CLOSED) when the receiver is closed before. */
  readonly done: Promise<DestinationReport>

  /** For receive(). */
  constructor (options: CheckedReceiveOptions, tls: NativeTrust) {
    super()
    this.#options = options
    this.done = new Promise((resolve, reject) => {
      this.#resolveDone = resolve
      this.#rejectDone = reject
    })
    this.done.catch(() => {})
    this.#context = this.#makeContext()
    this.#listener = new native.MigrationListener(
      { linkTimeoutMs: options.linkTimeoutMs, tls },
      (event, value) => {
        if (event === 'session') this.#welcome(value as NativeSession)
        else this.#refusals.note(value as NativeRefusal)
      })
  }

  #welcome (session: NativeSession): void {
    if (this.#closing !== null && !this.#mayBeAsked()) void session.close()
    else this.#sessions.add(new DestinationSession(session, this.#context))
  }

  /** For receive(). */
  async open (): Promise<void> {
    const { host, port, signal, disks, journal } = this.#options
    try {
      this.#journal = typeof journal === 'string' ? await Journal.open(journal) : journal
      for (const { destination } of disks) if (destination instanceof Tap) destination.refuse()
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
   * that are owned here stay open. Idempotent. `waitForLost`: a source that lost the link at the
   * very end can still ask, for as long as it does; a later call with false ends that. */
  close ({ waitForLost = false }: { waitForLost?: boolean } = {}): Promise<void> {
    this.#waitsForLost = waitForLost
    this.#onHeard()
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose] (): Promise<void> {
    return this.close()
  }

  async #close (): Promise<void> {
    await this.#endAll()
    await this.#untilHeard()
    await this.#endAll()
    await this.#listener.close()
    this.#refusals.close()
    await Promise.all(this.#resumed)
    if (typeof this.#options.journal === 'string') await this.#journal?.close()
    this.#rejectDone(new BlockferryError('CLOSED', 'the receiver was closed'))
    this.end()
  }

  async #endAll (): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session.close()))
  }

  #heard (migration: string): void {
    this.#unheard.delete(migration)
    this.#lost.delete(migration)
    this.#onHeard()
  }

  #mayBeAsked (): boolean {
    return this.#unheard.size > 0 || (this.#waitsForLost && this.#lost.size > 0)
  }

  /** A source that lost the link just when the commit was answered will ask. */
  async #untilHeard (): Promise<void> {
    const { linkTimeoutMs } = this.#options
    const timeout = AbortSignal.timeout(this.#waitsForLost ? askLimitMs(linkTimeoutMs) : linkTimeoutMs)
    const late = once(timeout, 'abort')
    while (this.#mayBeAsked() && !timeout.aborted) {
      await Promise.race([late, new Promise<void>((resolve) => { this.#onHeard = resolve })])
    }
  }

  #makeContext (): SessionContext<DestinationSession> {
    const journal = () => this.#journal
    return {
      options: this.#options,
      get journal () { return journal() },
      freed: (wanting, names, machine) => this.#freed(wanting, names, machine),
      closing: () => this.#closing !== null,
      claim: (session, migration) => this.#claim(session, migration),
      outcomeOf: (migration, peer) => this.#outcomeOf(migration, peer),
      started: (session) => {
        this.#outcomes.begin(session.migration!, session.peer)
        this.emit({ event: 'started', migration: session.migration!, disks: session.disks })
      },
      committed: (session, disks, run) => this.#committed(session, disks, run),
      heard: (session) => this.#heard(session.migration!),
      tell: ({ migration }, error) => this.emit({ event: 'failed', migration, error }),
      gaveUp: (session, isAccepted, error) => {
        if (isAccepted && session.outcome !== null) this.#remember(session, session.outcome)
        if (session.mayBeAsked) this.#lost.add(session.migration!)
        this.emit({ event: 'failed', migration: session.migration, error })
      },
      ended: (session) => { this.#ended(session) }
    }
  }

  /** Whether it may go by that name. */
  #claim (session: DestinationSession, migration: string): void {
    this.#outcomes.check(migration, session.peer)
    if (this.#named(migration).some(({ peer }) => peer !== session.peer)) throw anothers()
  }

  /** What goes on here by a name. */
  #named (migration: string): DestinationSession[] {
    return [...this.#sessions].filter((session) => session.migration === migration)
  }

  /** The same migration on a new connection has lost its old one. A source that gives up and tries
   * again is often quicker than the end of its old connection: who holds what is wanted gets a
   * little time to let go. There is one machine for all. */
  async #freed (wanting: DestinationSession, names: readonly string[], machine: boolean): Promise<void> {
    const others = [...this.#sessions].filter((other) => (
      other !== wanting && other.outcome?.committed === false))
    for (const other of others) {
      if (other.migration !== wanting.migration) continue
      void other.end(new BlockferryError('PEER_GONE', 'the source has connected anew'))
    }
    const holders = others.filter(({ migration, disks, hasMachine }) => (
      migration === wanting.migration || (machine && hasMachine) ||
      disks.some(({ name }) => names.includes(name))))
    const ends = [...holders.map(({ ended }) => ended), ...(machine ? this.#resumed : [])]
    if (ends.length === 0) return
    const gone = Promise.all(ends).then(() => true)
    const late = sleep(kLetGoMs, false, { ref: false })
    if (await Promise.race([gone, late])) return
    throw new BlockferryError('BUSY', `another migration holds ${names.join(', ')}${machine ? ' or the machine' : ''} here`)
  }

  /** Only whose migration it is can end it by asking. */
  async #outcomeOf (migration: string, peer: string): Promise<Outcome | null> {
    const undecided = this.#named(migration).filter(({ outcome }) => outcome?.committed !== true)
    if (undecided.some((session) => session.peer !== peer)) throw anothers()
    if ((this.#outcomes.peerOf(migration) ?? peer) === peer) this.#heard(migration)
    const settled = this.#outcomes.of(migration)
    if (settled?.committed === true || undecided.length === 0) return settled
    const lost = new BlockferryError('PEER_GONE', 'the source lost the link')
    await Promise.all(undecided.map((session) => session.end(lost)))
    const outcomes = undecided.map(({ outcome }) => outcome)
    return outcomes.find((outcome) => outcome?.committed !== false) ?? outcomes[0]!
  }

  #remember (session: DestinationSession, outcome: Outcome): void {
    this.#outcomes.remember(session.migration!, session.peer, outcome)
  }

  #committed (session: DestinationSession, disks: DestinationDisks, run: boolean): void {
    const migration = session.migration!
    this.#remember(session, session.outcome!)
    this.#unheard.add(migration)
    const resumed = Promise.all([
      this.#resumeMachine(migration, run), this.#switchNetwork(migration, session)
    ])
    for (const { tap } of disks.taps) {
      this.#taps.set(tap.name, tap)
      this.#serve(migration, tap)
    }
    this.emit({ event: 'committed', migration })
    const report = session.report()
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
      if (run) await machineCall('resume', () => machine.resume?.())
      if (isMemoryMachine(machine)) await machineCall('close', () => machine.close())
    } catch (thrown) {
      const error = toBlockferryError(thrown, { owner: 'destination' })
      this.emit({ event: 'failed', migration, error })
    }
  }

  /** So is the network's: the machine runs here. */
  async #switchNetwork (migration: string, session: DestinationSession): Promise<void> {
    try {
      await session.switchNetwork()
    } catch (thrown) {
      const error = toBlockferryError(thrown, { owner: 'destination' })
      this.emit({ event: 'failed', migration, error })
    }
  }

  #ended (session: DestinationSession): void {
    if (this.#sessions.delete(session)) void session.close()
  }
}
