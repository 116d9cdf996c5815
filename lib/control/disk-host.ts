// The disks that a process serves, and the migrations out of it and into it.
import { BlockferryError } from '../base/errors.js'
import type { Machine } from '../machine/machine.js'
import { machineOf } from './machine-spec.js'
import type { MigrateOptions } from '../source/options.js'
import type { DestinationDisk } from '../destination/options.js'
import type { Report } from '../session/report.js'
import type { Journal } from '../ownership/journal.js'
import type { RedirectEvent } from '../network/redirect/events.js'
import type { Redirect } from '../network/redirect/redirect.js'
import type { NbdServer } from '../nbd/server.js'
import type { Tap } from '../tap/tap.js'
import { ReceiveJob } from './receive-job.js'
import { hostPortText } from '../base/units.js'
import type { Emit, HostEvent, Job } from './job.js'
import { SendJob } from './send-job.js'
import type { PastMigration, ReceiveRequest, SendRequest, Status } from './protocol.js'
import { Redirections } from './redirections.js'

export interface DiskHostOptions {
  /** Remembers who owns the disks; the host closes it. Default: nothing does. */
  journal?: Journal | null
  /** Offers the disks; null: nobody is served. */
  server: NbdServer | null
  /** Keep a dirty map all the time, not only during migrations. */
  track: boolean
  /** Every event of every migration, for the log of the process. */
  onEvent: (event: HostEvent, migration: string) => void
}

const kMaxPast = 100

export class DiskHost {
  readonly #options: DiskHostOptions
  readonly #taps = new Map<string, Tap>()
  readonly #listen: string[] = []
  readonly #running = new Map<string, { job: Job, over: Promise<unknown> }>()
  readonly #redirections = new Redirections()
  #past: PastMigration[] = []
  #closing = false

  constructor (options: DiskHostOptions) {
    this.#options = options
  }

  /** Listens for NBD clients. Answers the address with the port it got. */
  async listen (address: string): Promise<string> {
    const got = await this.#options.server!.listen(address)
    const text = 'path' in got ? `unix:${got.path}` : `tcp:${hostPortText(got)}`
    this.#listen.push(text)
    return text
  }

  /** Takes a disk over: it is served and, at the end, closed. */
  add (tap: Tap): void {
    this.#options.server?.add(tap)
    this.#adopt(tap)
  }

  #journal (): { journal?: Journal } {
    const { journal = null } = this.#options
    return journal === null ? {} : { journal }
  }

  #adopt (tap: Tap): void {
    this.#taps.set(tap.name, tap)
    if (this.#options.track && tap.mapBlockSize === null) tap.track()
  }

  status (): Status {
    return {
      disks: [...this.#taps.values()].map((tap) => ({
        name: tap.name,
        source: tap.source,
        size: tap.size,
        readOnly: tap.readOnly,
        state: tap.state,
        writtenBytes: tap.stats().writtenBytes
      })),
      listen: this.#listen,
      clients: this.#options.server?.stats().connections ?? 0,
      running: [...this.#running.values()].map(({ job }) => job.describe()),
      past: this.#past
    }
  }

  /** Moves disks away. */
  async send (request: SendRequest, emit: Emit): Promise<Report> {
    const { disks: names, to, switchover = 'auto', machine, redirect, ...options } = request
    const taps = this.#named(names)
    const tell = new Teller(emit, (event) => this.#options.onEvent(event, job.id))
    const network = this.#redirections.open(redirect, 'old', (event) => tell.redirect(event))
    const job = new SendJob({
      ...options,
      switchover: switchoverOf(switchover),
      disks: taps.map((source) => ({ source })),
      destination: to,
      ...this.#journal(),
      ...machineIn(machine),
      ...(network !== null && { network })
    }, taps.map(({ name }) => name), to)
    emit({ event: 'accepted', migration: job.id })
    return await this.#run(job, () => job.run((event) => tell.all(event)))
      .finally(() => this.#release(network, tell))
  }

  #release (network: Redirect | null, tell: Teller): void {
    tell.release()
    this.#redirections.release(network)
  }

  /** Takes disks that are owned elsewhere back. REFUSED when one is owned here. */
  async takeBack (request: ReceiveRequest, emit: Emit): Promise<void> {
    const taps = this.#named(request.disks)
    for (const { name, state } of taps) {
      if (state !== 'refusing') throw new BlockferryError('REFUSED', `${name} is owned here`)
      await this.#endWaiting(name)
      if (this.#isRunning(name)) {
        throw new BlockferryError('BUSY', `${name} is in a migration already`)
      }
    }
    await this.#receive(taps.map((destination) => ({ destination })), request, null, emit, () => {})
  }

  /** Receives disks that this process does not have yet; they are served when they are here. */
  async receive (
    disks: DestinationDisk[], request: ReceiveRequest, emit: Emit
  ): Promise<void> {
    const { server } = this.#options
    await this.#receive(disks, request, server, emit, (tap) => this.#adopt(tap))
  }

  async #receive (
    disks: DestinationDisk[],
    { disks: _names, keepListening = false, allocate = false, machine, redirect, ...options }: ReceiveRequest,
    server: NbdServer | null, emit: Emit, arrived: (tap: Tap) => void
  ): Promise<void> {
    const names = disks.map(({ destination, name }) => name ?? (destination as Tap).name)
    const tell = new Teller(emit, (event) => this.#options.onEvent(event, job.id))
    const network = this.#redirections.open(redirect, 'new', (event) => tell.redirect(event))
    const job = await ReceiveJob.listen(names, {
      ...options,
      ...this.#journal(),
      ...machineIn(machine),
      disks: disks.map((disk) => ({ ...disk, allocate })),
      keepListening,
      arrived,
      ...(server !== null && { serve: server }),
      ...(network !== null && { network })
    })
    emit({ event: 'accepted', migration: job.id })
    await this.#run(job, () => job.run((event) => tell.all(event)))
      .finally(() => this.#release(network, tell))
  }

  /** The running migration with this id (or its beginning); without one the only one. Errors:
   * NOT_FOUND, INVALID (several are running). */
  job (migration?: string): Job {
    const jobs = [...this.#running.values()].map(({ job }) => job)
    const found = jobs.filter(({ id }) => migration === undefined || id.startsWith(migration))
    if (found.length === 1) return found[0]!
    if (found.length === 0) {
      const which = migration === undefined ? '' : ` ${migration}`
      throw new BlockferryError('NOT_FOUND', `no migration${which} is running`)
    }
    const list = found.map(({ id, disks }) => `${id} (${disks.join(', ')})`).join('; ')
    throw new BlockferryError('INVALID', `several migrations are running, name one: ${list}`)
  }

  /** The same for what only a migration out of here can do. */
  sendJob (migration?: string): SendJob {
    const job = this.job(migration)
    if (job instanceof SendJob) return job
    throw new BlockferryError(
      'INVALID', 'disks are being received here: ask the process that sends them')
  }

  /** Whether nobody here knows who will own the disks of a migration out of here. */
  get ownerUnknown (): boolean {
    return [...this.#running.values()].some(({ job }) => job instanceof SendJob && job.ownerUnknown)
  }

  /** Cancels what has not committed and waits until it is over, ends the NBD clients, lets go of
   * the disks, and of redirections that are in use. Answers the errors of migrations that it has
   * ended so. */
  async close (): Promise<BlockferryError[]> {
    this.#closing = true
    const running = [...this.#running.values()]
    const outcomes = await Promise.all(running.map(async ({ job, over }) => {
      await job.cancel('keep').catch(() => {})
      return await over.then(() => [], (error) => [error])
    }))
    this.#redirections.close()
    await this.#options.server?.close()
    for (const tap of this.#taps.values()) await tap.close()
    await this.#options.journal?.close()
    return outcomes.flat()
  }

  async #run<T> (job: Job, body: () => Promise<T>): Promise<T> {
    if (this.#closing) {
      await job.cancel('keep').catch(() => {})
      throw new BlockferryError('CLOSED', 'the process is about to end', { owner: 'source' })
    }
    const over = body()
    this.#running.set(job.id, { job, over })
    try {
      return await over
    } finally {
      this.#running.delete(job.id)
      this.#past = [job.past(), ...this.#past].slice(0, kMaxPast)
      if (this.#options.track) this.#trackAgain(job.disks)
    }
  }

  /** A migration leaves its taps untracked. */
  #trackAgain (names: string[]): void {
    for (const name of names) {
      const tap = this.#taps.get(name)
      if (tap?.mapBlockSize === null) tap.track()
    }
  }

  #named (names?: string[]): Tap[] {
    if (names === undefined) {
      if (this.#taps.size === 0) {
        throw new BlockferryError('NOT_FOUND', 'this process has no disk yet')
      }
      return [...this.#taps.values()]
    }
    return names.map((name) => {
      const tap = this.#taps.get(name)
      if (tap !== undefined) return tap
      const known = [...this.#taps.keys()].join(', ') || 'none'
      throw new BlockferryError('NOT_FOUND', `no disk ${name} here (there is: ${known})`)
    })
  }

  /** An job that has failed, and only waits for its source to ask, is in nobody's way. */
  async #endWaiting (name: string): Promise<void> {
    for (const { job, over } of this.#running.values()) {
      if (!(job instanceof ReceiveJob && job.over && job.disks.includes(name))) continue
      await job.cancel()
      await over.catch(() => {})
    }
  }

  #isRunning (name: string): boolean {
    return [...this.#running.values()].some(({ job }) => job.disks.includes(name))
  }
}

/** A migration's events go to who asked for it and to the log; those that its redirection has when
 * it is over only to the log. */
class Teller {
  #emit: Emit
  readonly #log: Emit

  constructor (emit: Emit, log: Emit) {
    this.#emit = emit
    this.#log = log
  }

  all (event: HostEvent): void {
    this.#emit(event)
    this.#log(event)
  }

  redirect (redirect: RedirectEvent): void {
    this.all({ event: 'redirect', redirect })
  }

  release (): void {
    this.#emit = () => {}
  }
}

function machineIn (machine: string | undefined): { machine?: Machine } {
  return machine === undefined ? {} : { machine: machineOf('machine', machine) }
}

function switchoverOf (text: string): NonNullable<MigrateOptions['switchover']> {
  return text === 'auto' || text === 'manual' ? text : new Date(text)
}
