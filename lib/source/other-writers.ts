// Whether anybody but the tap's own writers writes a disk while it is copied. Marks and digests show nothing of
// that: they are of what was read.
import { BlockferryError, toBlockferryError } from '../base/errors.js'
import type { Tap } from '../tap/tap.js'

export class OtherWriters {
  readonly #name: string
  readonly #tap: Tap
  /** Of a disk that nobody may write, what it was like before it was copied. Null: of one that may be
   * written, or that can't tell. */
  #witness: string | null = null
  /** At who opens one that may be written. */
  #looks = false
  /** The kernel tells of each. */
  #isWatched = false
  /** Somebody may have come to have it open. */
  #mayBeOpen = false
  /** Somebody may have written it, and what is remembered of it does not know. */
  #mustForget = false

  constructor (name: string, tap: Tap) {
    this.#name = name
    this.#tap = tap
  }

  /** From now on. BUSY when somebody has it open for writing. */
  async watch (): Promise<void> {
    const { native, kind, readOnly, force, mapBlockSize } = this.#tap
    // One in the kernel sees all writers.
    if (kind !== 'nbd') return
    const { written, watched } = native.opens()
    // Since it was opened, or the last migration.
    if (mapBlockSize !== null && (written || !watched)) await native.beginAgain()
    const witness = readOnly ? await native.witness(true) : ''
    if (witness !== '') this.#witness = witness
    // Its own writes change it.
    if (readOnly || force) return
    this.#looks = true
    this.#isWatched = watched || native.watchOpens()
    this.#mayBeOpen = !this.#isWatched
    await native.checkNoWriter()
  }

  /** UNACCOUNTED when somebody had it open for writing, and has closed it. */
  check (): void {
    if (!this.#looks) return
    const { opened, written } = this.#tap.native.opens()
    this.#mayBeOpen ||= opened
    if (!written) return
    this.#mustForget = true
    throw new BlockferryError('UNACCOUNTED',
      `another program had ${this.#name} (${this.#tap.source}) open for writing while it was copied`)
  }

  /** … BUSY when somebody has come to have it open for writing. */
  async checkOpeners (): Promise<void> {
    this.check()
    if (!this.#mayBeOpen) return
    this.#mayBeOpen = !this.#isWatched
    await this.#tap.native.checkNoWriter().catch((error: unknown) => {
      this.#mayBeOpen = true
      throw toBlockferryError(error, { owner: 'source', resumable: true })
    })
  }

  /** NOT_EQUAL when one that nobody may write was written; UNACCOUNTED when that can't be told any more. */
  async checkWitness (): Promise<void> {
    const now = this.#witness === null ? null : await this.#tap.native.witness(false)
    if (now === this.#witness) return
    const disk = `${this.#name} (${this.#tap.source})`
    if (now === '') throw new BlockferryError('UNACCOUNTED', `it can't be told any more whether ${disk} was written`)
    throw new BlockferryError('NOT_EQUAL',
      `another program has written ${disk} while it was copied, or changed its owner or mode`)
  }

  /** All of it is going to be compared: what was written until now is of no account. */
  async beginAgain (): Promise<void> {
    if (this.#looks) this.#mayBeOpen ||= this.#tap.native.opens().opened
    await this.#tap.native.beginAgain()
    this.#mustForget = false
  }

  /** The migration has ended. A disk with a map file is watched as long as it is open. */
  async close (): Promise<void> {
    if (this.#mustForget) await this.#tap.native.beginAgain()
    if (this.#tap.mapBlockSize === null) this.#tap.native.unwatchOpens()
  }
}
