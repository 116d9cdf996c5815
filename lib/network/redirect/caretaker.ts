// What goes on after the switchover: the name is brought to the new address, and the tunnel is
// taken away when nobody needs it. Works from the state file's content alone, so that another
// process can go on with it.
import { setTimeout as sleep } from 'node:timers/promises'

import { apply, remove } from '../undoable-changes.js'
import { countConnections } from './connections.js'
import type { NameService } from '../dns/name-service.js'
import { HelloServer, say } from './peer-probe.js'
import { Naming } from './naming.js'
import type { RedirectEvent, TunnelEnd } from './events.js'
import type { RedirectState } from './state.js'
import { hasState, neededByOthers, removeState, settingsIn, writeState } from './state.js'
import { tunnelEnd } from './tear-down.js'
import { TunnelConnection } from '../tunnel/connection.js'

export class Watch {
  readonly #state: RedirectState
  readonly #folder: string
  readonly #naming: Naming
  readonly #emit: (event: RedirectEvent) => void
  readonly #stop = new AbortController()
  #connection: TunnelConnection | null = null
  #hello: HelloServer | null = null
  /** ms of performance.now(): the wall clock may be set meanwhile. */
  #switchedAt = 0
  #lastUsedAt = 0
  #count: number | null | undefined
  #told = false

  constructor (
    state: RedirectState,
    folder: string,
    dns: NameService | null,
    emit: (event: RedirectEvent) => void
  ) {
    this.#state = state
    this.#folder = folder
    this.#emit = emit
    this.#naming = new Naming(dns, (error) => emit({ event: 'name', id: state.id, error }))
  }

  /** Carries the tunnel's packets, if the kernel doesn't; new site: answers the old one. */
  async open (): Promise<void> {
    const { id, tunnel, connection, role } = this.#state
    if (connection !== null) {
      this.#connection = await TunnelConnection.open(tunnel, connection, (error) => (
        this.#emit({ event: 'connection', id, error })))
    }
    if (role !== 'new') return
    this.#hello = new HelloServer(this.#state.id, () => this.#onOver())
    await this.#hello.listen(this.#state.inner.local)
  }

  /** Whether packets can pass; a kernel's tunnel has no connection that could be missing. */
  async connected (): Promise<void> {
    await this.#connection?.connected()
  }

  /** The old site wants to end: not while names still lead there. */
  #onOver (): boolean {
    if (this.#naming.freshAt > performance.now()) return false
    this.#told = true
    return true
  }

  /** Resolves after the first attempt, whatever comes of it; others follow. */
  async changeName (): Promise<void> {
    await this.#naming.change()
  }

  /** Waits for the end of the tunnel, and makes it. Null: stop() was called first. */
  async untilEnd (): Promise<TunnelEnd | null> {
    const { switchedAt, preparedAt } = this.#state
    const age = Math.max(0, Date.now() - Date.parse(switchedAt ?? preparedAt))
    this.#lastUsedAt = performance.now()
    this.#switchedAt = this.#lastUsedAt - age
    for (;;) {
      const end = await this.#look()
      if (this.#stop.signal.aborted) return null
      if (end !== null) {
        await this.#end(end)
        return end
      }
      await sleep(this.#state.pollMs, undefined, { signal: this.#stop.signal }).catch(() => {})
    }
  }

  async #look (): Promise<TunnelEnd | null> {
    const { id, role, quietMs, deadlineMs } = this.#state
    if (this.#told) return 'other-site'
    // Somebody else has removed it all.
    if (!await hasState(this.#folder, id, role)) return 'removed'
    const connections = role === 'old' ? await this.#connections() : null
    const now = performance.now()
    if (connections !== null && connections > 0) this.#lastUsedAt = now
    const end = tunnelEnd({
      now,
      switchedAt: this.#switchedAt,
      lastUsedAt: this.#lastUsedAt,
      connections,
      staleMs: this.#naming.freshAt - this.#switchedAt,
      quietMs,
      deadlineMs
    })
    if (end === null || role === 'new') return end
    // A host that is gone has no objection.
    const answer = await say('over', id, this.#state.inner).catch(() => 'yes')
    return end === 'deadline' || answer === 'yes' ? end : null
  }

  async #connections (): Promise<number | null> {
    const count = await countConnections(this.#state.addresses)
    if (count !== this.#count) this.#emit({ event: 'connections', id: this.#state.id, count })
    this.#count = count
    return count
  }

  async #end (reason: TunnelEnd): Promise<void> {
    const state = this.#state
    await this.#close()
    if (reason !== 'removed') {
      await this.#removeTunnel()
      const error = await this.#naming.restoreTtl()
      if (error !== null) this.#emit({ event: 'failed', id: state.id, error })
      if (state.role === 'old') await removeState(this.#folder, state.id, state.role)
      else await this.#stay()
    }
    await this.stop()
    this.#emit({ event: 'ended', id: state.id, reason })
  }

  async #removeTunnel (): Promise<void> {
    const state = this.#state
    const needed = await neededByOthers(this.#folder, state)
    const own = settingsIn([{ ...state, tunnelChanges: [] }])
    await remove(state.tunnelChanges, new Set([...needed, ...own.keys()]))
    state.tunnelChanges = []
  }

  /** New site: the new address stays. */
  async #stay (): Promise<void> {
    const state = this.#state
    state.phase = 'settled'
    state.dns = null
    state.stayChanges.push(...state.afterChanges)
    await writeState(this.#folder, state)
    await apply(state.afterChanges)
  }

  /** Leaves everything as it is. Resolves when nothing is under way. */
  async stop (): Promise<void> {
    this.#stop.abort()
    await this.#close()
    await this.#naming.stop()
  }

  async #close (): Promise<void> {
    const [hello, connection] = [this.#hello, this.#connection]
    this.#hello = this.#connection = null
    hello?.close()
    await connection?.close()
  }
}
