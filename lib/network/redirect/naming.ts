// The machine's name after the switchover: it gets the new address, however long its server takes.
// One request at a time: a late one must not undo what came after it.
import { setTimeout as sleep } from 'node:timers/promises'

import type { BlockferryError } from '../../base/errors.js'
import { toBlockferryError } from '../../base/errors.js'
import type { NameService } from '../dns/name-service.js'

const kFirstRetryMs = 1000
const kLongestRetryMs = 60_000
const kSettleTries = 5

export class Naming {
  readonly #dns: NameService | null
  readonly #tell: (error: BlockferryError | null) => void
  #retrying = new AbortController()
  #last: Promise<unknown> = Promise.resolve()
  #freshAt = 0

  /** `tell`: the name has the new address (null), or not yet. */
  constructor (dns: NameService | null, tell: (error: BlockferryError | null) => void) {
    this.#dns = dns
    this.#tell = tell
  }

  /** When the last resolver has forgotten the old address, ms of performance.now(); never, while
   * the name still has it. */
  get freshAt (): number {
    return this.#freshAt
  }

  /** Resolves after the first attempt, whatever comes of it; while they fail others follow. */
  async change (): Promise<void> {
    if (this.#dns === null) return
    this.#freshAt = Infinity
    if (!await this.#try(this.#dns)) void this.#retry(this.#dns)
  }

  async #try (dns: NameService): Promise<boolean> {
    const error = await this.#inTurn(() => dns.switchOver())
    if (error === null) this.#freshAt = performance.now() + dns.staleMs
    this.#tell(error)
    return error === null
  }

  async #retry (dns: NameService): Promise<void> {
    const { signal } = this.#retrying
    for (let wait = kFirstRetryMs; ; wait = Math.min(2 * wait, kLongestRetryMs)) {
      const goesOn = await sleep(wait, true, { signal }).catch(() => false)
      if (!goesOn || await this.#try(dns)) return
    }
  }

  /** The end: the new address, with the TTL of before. Answers why not, after some attempts. */
  async restoreTtl (): Promise<BlockferryError | null> {
    this.#retrying.abort()
    this.#retrying = new AbortController()
    const { signal } = this.#retrying
    const dns = this.#dns
    if (dns === null) return null
    for (let tries = 1, wait = kFirstRetryMs; ; tries++, wait *= 2) {
      const error = await this.#inTurn(() => dns.restoreTtl())
      if (error === null || tries === kSettleTries || signal.aborted) return error
      await sleep(wait, undefined, { signal }).catch(() => {})
    }
  }

  async #inTurn (request: () => Promise<void>): Promise<BlockferryError | null> {
    const turn = this.#last.then(request).then(() => null, (thrown: unknown) => (
      toBlockferryError(thrown, { owner: 'destination' })))
    this.#last = turn
    return await turn
  }

  /** No more attempts. Resolves when none is under way. */
  async stop (): Promise<void> {
    this.#retrying.abort()
    await this.#last
  }
}
