// A migration's calls of the network: in order, one at a time, and none twice.
import { BlockferryError } from '../base/errors.js'
import type { Network } from '../network/network.js'

export class NetworkSteps {
  readonly #network: Network | null
  #prepared: Promise<void> | null = null
  #switched: Promise<void> | null = null

  constructor (network: Network | null) {
    this.#network = network
  }

  /** What is prepared stays so when the migration goes on over another connection. */
  prepare (): Promise<void> {
    this.#prepared ??= this.#call('prepare')
    return this.#prepared
  }

  verify (): Promise<void> {
    return this.#call('verify')
  }

  /** The machine is at the destination: after this nothing is undone. */
  switchOver (): Promise<void> {
    this.#switched ??= this.#call('switchOver')
    this.#switched.catch(() => {})
    return this.#switched
  }

  /** Waits for a prepare() that is going on. One that fails has left nothing. */
  async undo (): Promise<void> {
    const prepared = await this.#prepared?.then(() => true, () => false)
    this.#prepared = null
    if (prepared === true && this.#switched === null) await this.#call('undo')
  }

  async #call (method: keyof Network): Promise<void> {
    try {
      await this.#network?.[method]?.()
    } catch (cause) {
      if (cause instanceof BlockferryError) throw withOwner(cause, method)
      const words = cause instanceof Error ? cause.message : String(cause)
      throw withOwner(new BlockferryError(
        'NETWORK', `${method}() of the network failed: ${words}`, { cause }), method)
    }
  }
}

/** From the switchover on it is known whose the disks are. */
function withOwner (error: BlockferryError, method: keyof Network): BlockferryError {
  if (method !== 'switchOver') return error
  const { code, message, errno } = error
  return new BlockferryError(code, message, { owner: 'destination', errno, cause: error })
}
