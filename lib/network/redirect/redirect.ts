// redirect(): takes a machine's connections along when its address changes, at one of the two
// sites. For migrate() and receive() as their network, or on its own.
import { BlockferryError, toBlockferryError } from '../../base/errors.js'
import { EventStream } from '../../base/event-stream.js'
import { kRuntimeFolder } from '../../base/runtime-folder.js'
import { listOf } from '../addresses.js'
import { apply, checkTables, complete, isTaken } from '../undoable-changes.js'
import { restoreNameService } from '../dns/restore.js'
import { say } from './peer-probe.js'
import { isAlive, ownIdentity } from '../../base/process-identity.js'
import type { Network } from '../network.js'
import type { CheckedRedirectOptions, RedirectOptions } from './options.js'
import { checkRedirectOptions } from './options.js'
import type { Plan } from './plan.js'
import { newPlan } from './plan-new.js'
import { oldPlan } from './plan-old.js'
import { stateOf } from './plan-state.js'
import type { RedirectEvent, TunnelEnd } from './events.js'
import { removeRedirect } from './remove.js'
import type { RedirectState } from './state.js'
import { isInUse, listRedirects, writeState } from './state.js'
import { survey } from './host-survey.js'
import { Watch } from './caretaker.js'

/** How often free numbers are looked for. */
const kPrepareTries = 3

export class Redirect extends EventStream<RedirectEvent> implements Network {
  readonly #options: CheckedRedirectOptions
  readonly #folder: string
  #state: RedirectState | null = null
  #plan: Plan | null = null
  #watch: Watch | null = null
  /** Nothing is looked after any more. */
  #isOver = false
  #resolveEnded!: (end: TunnelEnd | null) => void
  #rejectEnded!: (error: BlockferryError) => void
  /** After a switchover: why the tunnel has gone, as soon as it has; null after close(). Rejects when
   * it could not be removed: what is left is in the list of listRedirects(). */
  readonly ended: Promise<TunnelEnd | null>

  /** For redirect(). */
  constructor (options: CheckedRedirectOptions) {
    super()
    this.#options = options
    this.#folder = options.runtimeFolder
    this.ended = new Promise((resolve, reject) => {
      this.#resolveEnded = resolve
      this.#rejectEnded = reject
    })
    this.ended.catch(() => {})
  }

  /** The same at both sites. */
  get id (): string {
    return this.#options.id
  }

  /**
   * Checks all that can be known here and sets up the tunnel, into which nothing goes yet. After an
   * error nothing is left. After undo() it can be called again.
   *
   * Errors: NO_PERMISSION, UNSUPPORTED (the kernel lacks the kind of tunnel; a tool is missing),
   * ADDRESS_IN_USE, UNREACHABLE, TIMEOUT, NETWORK, IO_ERROR.
   */
  async prepare (): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#prepare()
      } catch (error) {
        // Another process has taken the numbers that were free a moment ago.
        if (tries === kPrepareTries || !isTaken(error)) throw error
      }
    }
  }

  async #prepare (): Promise<void> {
    const { role, id } = this.#options
    const known = await this.#others()
    const around = await survey(this.#options, known)
    const plan = this.#plan = role === 'old' ? oldPlan(around) : newPlan(around)
    const state = this.#state = stateOf(around, plan)
    this.#watch = new Watch(state, this.#folder, this.#options.dns, (event) => this.emit(event))
    try {
      await this.#write()
      await apply([...plan.prepare.tunnel, ...plan.prepare.stay])
      await checkTables([...plan.switchOver.tunnel, ...plan.switchOver.stay])
      await this.#watch.open()
      await this.#prepareName()
      state.phase = 'prepared'
      await this.#write()
    } catch (error) {
      await this.undo().catch(() => {})
      throw toBlockferryError(error)
    }
    this.emit({ event: 'prepared', id, tunnel: state.tunnel })
  }

  /** The redirections that are here already. NETWORK when this one is among them, or another of
   * the same machine. */
  async #others (): Promise<RedirectState[]> {
    const { role, id, addresses } = this.#options
    const known = await listRedirects(this.#folder)
    const other = known.find((state) => state.id === id
      ? state.role === role
      : listOf(addresses).some((address) => state.addresses.includes(address)))
    if (other === undefined) return known
    const what = other.id === id
      ? `redirection ${id} exists here already`
      : 'redirection ' +
      `${other.id}, which exists here already, has an address of this machine`
    throw new BlockferryError('NETWORK', `${what}: blockferry redirect --list, --remove ${other.id}`)
  }

  async #prepareName (): Promise<void> {
    const { dns, addresses } = this.#options
    if (dns === null) return
    try {
      await dns.prepare(listOf(addresses))
    } finally {
      // It may have lowered the TTL before it failed.
      this.#state!.dns = dns.state()
      await this.#write()
    }
  }

  /** Old site: does the tunnel reach the new site, which must have prepared? UNREACHABLE; with tun
   * also UNAUTHORIZED, TLS, REFUSED and the like. */
  async verify (): Promise<void> {
    const state = this.#prepared()
    if (state.role === 'new') return
    await this.#watch!.connected()
    await say('hello', state.id, state.inner)
    this.emit({ event: 'verified', id: state.id })
  }

  /**
   * Sends the packets the new way, then changes the name. From here on the tunnel is looked after
   * until it goes (see `ended`), which keeps the process alive; close() lets go of it.
   *
   * What can't be done doesn't keep the rest from being done, and is thrown at the end: NETWORK,
   * IO_ERROR. A name server that is late or refuses is no error of this kind: there is an event of
   * it, and it is asked again and again.
   */
  async switchOver (): Promise<void> {
    const state = this.#prepared()
    const { tunnel, stay } = this.#plan!.switchOver
    const changes = [...tunnel, ...stay]
    await this.#switchOver(state, () => apply(changes).catch(() => complete(changes)))
  }

  async #switchOver (state: RedirectState, change: () => Promise<void>): Promise<void> {
    let failed: unknown = null
    const note = (error: unknown) => { failed ??= error }
    state.switchedAt ??= new Date().toISOString()
    state.phase = 'switching'
    await Promise.all([change().catch(note), this.#write().catch(note)])
    state.phase = 'switched'
    await this.#write().catch(note)
    this.emit({ event: 'switched', id: state.id })
    const named = this.#watch!.changeName()
    this.#lookAfter()
    await named
    if (failed !== null) throw toBlockferryError(failed)
  }

  #prepared (): RedirectState {
    if (this.#state?.phase === 'prepared') return this.#state
    throw new BlockferryError('NETWORK', `redirection ${this.id} is not prepared`)
  }

  /** It has been switched over here: packets go the new way, or did. */
  get inUse (): boolean {
    return this.#state !== null && isInUse(this.#state)
  }

  #lookAfter (): void {
    this.#watch!.untilEnd().then(
      (end) => this.#resolveEnded(end),
      (thrown: unknown) => {
        const error = toBlockferryError(thrown)
        this.emit({ event: 'failed', id: this.id, error })
        this.#rejectEnded(error)
      }
    ).finally(() => {
      this.#isOver = true
      this.end()
    })
  }

  /** Removes all that was set up here, and brings back the name. Idempotent; NETWORK when something
   * could not be removed: then it is in the list still. */
  async undo (): Promise<void> {
    const state = this.#state
    if (state === null) return
    const wasInUse = isInUse(state)
    await this.#watch?.stop()
    await removeRedirect(state, this.#folder, this.#options.dns ?? null)
    this.#state = null
    if (wasInUse) this.#resolveEnded('removed')
  }

  /** Stops looking after the tunnel and leaves it as it is, for `blockferry redirect --watch`. No
   * more events come. */
  close (): void {
    if (this.inUse && !this.#isOver) this.emit({ event: 'left', id: this.id })
    void this.#watch?.stop()
    this.#resolveEnded(null)
    this.end()
  }

  async #write (): Promise<void> {
    await writeState(this.#folder, this.#state!)
  }

  /** For watchRedirect(). */
  static async goOn (options: CheckedRedirectOptions, state: RedirectState): Promise<Redirect> {
    const redirect = new Redirect(options)
    const own = redirect.#state = { ...state, caretaker: ownIdentity() }
    const dns = state.dns === null ? null : restoreNameService(state.dns)
    const watch = redirect.#watch = new Watch(
      own, redirect.#folder, dns, (event) => redirect.emit(event))
    await redirect.#write()
    await watch.open()
    const changes = [...own.tunnelChanges, ...own.stayChanges]
    void redirect.#switchOver(own, () => complete(changes)).catch((thrown: unknown) => {
      redirect.emit({ event: 'failed', id: own.id, error: toBlockferryError(thrown) })
    })
    return redirect
  }
}

/**
 * Goes on looking after a redirection whose process has gone: one of listRedirects() that was
 * switched over, or was being so. With `switchOver`, one that was only prepared, too: for a machine
 * that has moved.
 *
 * Errors: NETWORK, IO_ERROR; BUSY when its process is there still.
 */
export async function watchRedirect (
  state: RedirectState, folder: string = kRuntimeFolder, { switchOver = false } = {}
): Promise<Redirect> {
  const { id, role, phase, caretaker } = state
  const fits = phase === 'switched' || phase === 'switching'
  if (!fits && !(switchOver && phase === 'prepared')) {
    throw new BlockferryError('NETWORK', `redirection ${id} is ${phase}, not switched over`)
  }
  if (isAlive(caretaker)) {
    throw new BlockferryError('BUSY', `process ${caretaker.pid} looks after redirection ${id}`)
  }
  const options = { id, role, runtimeFolder: folder } as CheckedRedirectOptions
  return await Redirect.goOn(options, state)
}

/**
 * Takes along the connections of a machine that moves to a site with other addresses: those that
 * were open go on through a tunnel from the old site, new ones find the machine at its new address
 * by its name. The machine itself keeps its configuration.
 *
 * One at each site: as `network` of migrate() and receive(), or on its own: prepare() at both,
 * verify() at the old site, and when the machine has moved switchOver() at both. It takes
 * CAP_NET_ADMIN, iproute2, nftables and conntrack. INVALID for options that make no sense.
 */
export function redirect (options: RedirectOptions): Redirect {
  return new Redirect(checkRedirectOptions(options))
}
