// What goes on after the switchover: the name is brought to the new address, however long its
// server takes, and the tunnel is taken away when nobody needs it. Works from the state file's
// content alone, so that another process can go on with it.
import { setTimeout as sleep } from 'node:timers/promises'

import { toBlockferryError } from '../errors.js'
import { apply, remove } from './changes.js'
import { countConnections } from './connections.js'
import type { NameService } from './dns/name-service.js'
import { HelloServer, say } from './hello.js'
import type { RedirectEvent, TunnelEnd } from './redirect-events.js'
import type { RedirectState } from './state.js'
import { removeState, writeState } from './state.js'
import { tunnelEnd } from './tear-down.js'

const kFirstRetryMs = 1000
const kLongestRetryMs = 60_000

export class Watch {
  readonly #state: RedirectState
  readonly #folder: string
  readonly #dns: NameService | null
  readonly #emit: (event: RedirectEvent) => void
  readonly #stop = new AbortController()
  #hello: HelloServer | null = null
  #lastUsedAt = 0
  #count: number | null | undefined
  /** When the last resolver has forgotten the old address; never, while the name still has it. */
  #freshAt = 0
  #told = false

  constructor (
    state: RedirectState,
    folder: string,
    dns: NameService | null,
    emit: (event: RedirectEvent) => void
  ) {
    this.#state = state
    this.#folder = folder
    this.#dns = dns
    this.#emit = emit
  }

  /** New site: answers the old one from now on. */
  async listen (): Promise<void> {
    if (this.#state.role !== 'new') return
    this.#hello = new HelloServer(this.#state.id, () => this.#onOver())
    await this.#hello.listen(this.#state.inner.local)
  }

  /** The old site wants to end: not while names still lead there. */
  #onOver (): boolean {
    if (this.#freshAt > Date.now()) return false
    this.#told = true
    return true
  }

  /** The first attempt; while it fails, others follow until stop(). */
  async changeName (): Promise<void> {
    const dns = this.#dns
    if (dns === null) return
    this.#freshAt = Infinity
    try {
      await this.#tryName(dns)
    } catch (error) {
      void this.#retryName(dns)
      throw error
    }
  }

  async #tryName (dns: NameService): Promise<void> {
    const { id } = this.#state
    try {
      await dns.switchOver()
    } catch (thrown) {
      const error = toBlockferryError(thrown, { owner: 'destination' })
      this.#emit({ event: 'name', id, error })
      throw error
    }
    this.#freshAt = Date.now() + dns.staleMs
    this.#emit({ event: 'name', id, error: null })
  }

  async #retryName (dns: NameService): Promise<void> {
    for (let wait = kFirstRetryMs; ; wait = Math.min(2 * wait, kLongestRetryMs)) {
      if (!await this.#sleep(wait)) return
      if (await this.#tryName(dns).then(() => true, () => false)) return
    }
  }

  /** Waits for the end of the tunnel, and makes it. Null: stop() was called first. */
  async untilEnd (): Promise<TunnelEnd | null> {
    this.#lastUsedAt = this.#switchedAt()
    for (;;) {
      const end = await this.#look()
      if (end !== null) {
        await this.#end(end)
        return end
      }
      if (!await this.#sleep(this.#state.pollMs)) return null
    }
  }

  #switchedAt (): number {
    return Date.parse(this.#state.switchedAt ?? this.#state.preparedAt)
  }

  async #look (): Promise<TunnelEnd | null> {
    const { role, quietMs, deadlineMs } = this.#state
    if (this.#told) return 'other-site'
    const now = Date.now()
    const connections = role === 'old' ? await this.#connections() : null
    if (connections !== null && connections > 0) this.#lastUsedAt = now
    const switchedAt = this.#switchedAt()
    const end = tunnelEnd({
      now,
      switchedAt,
      lastUsedAt: this.#lastUsedAt,
      connections,
      staleMs: this.#freshAt - switchedAt,
      quietMs,
      deadlineMs
    })
    if (end === null || role === 'new') return end
    // A host that is gone has no objection.
    const answer = await say('over', this.#state.id, this.#state.inner).catch(() => 'yes')
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
    this.stop()
    await remove(state.tunnelChanges)
    state.tunnelChanges = []
    await this.#dns?.settle().catch((thrown: unknown) => {
      const error = toBlockferryError(thrown)
      this.#emit({ event: 'failed', id: state.id, error })
    })
    if (state.role === 'old') {
      await removeState(this.#folder, state.id, state.role)
    } else {
      state.phase = 'settled'
      state.dns = null
      state.stayChanges.push(...state.afterChanges)
      await writeState(this.#folder, state)
      await apply(state.afterChanges)
    }
    this.#emit({ event: 'ended', id: state.id, reason })
  }

  /** False when stop() comes first. */
  async #sleep (ms: number): Promise<boolean> {
    return await sleep(ms, true, { signal: this.#stop.signal }).catch(() => false)
  }

  /** Leaves everything as it is. */
  stop (): void {
    this.#stop.abort()
    this.#hello?.close()
    this.#hello = null
  }

  get stopped (): boolean {
    return this.#stop.signal.aborted
  }
}

