// What the user wants of a migration, from before its options are looked at on.
import { BlockferryError } from '../base/errors.js'
import type { Budgets } from '../policy/types.js'
import type { CheckedMigrateOptions, MigrateOptions } from './options.js'
import { checkBudgets, sharedIn } from './options.js'
import { atDate } from './switchover-date.js'

/** What carries them out: the copying, while there is any. */
export interface Obeys {
  holdSending (on: boolean): void
  want (): void
  setBudgets (budgets: Budgets): void
}

export class Commands {
  /** Rejects when the user cancels. */
  readonly cancelled: Promise<never>
  readonly #reject: (error: BlockferryError) => void
  #cancellation: BlockferryError | null = null
  /** A cancelled migration leaves what it copied for a later attempt. */
  keepsDestination = true
  #budgets: Budgets | null = null
  #early: NonNullable<MigrateOptions['budgets']> = {}
  #paused = false
  #wanted = false
  #obeys: Obeys | null = null
  #forgetDate = () => {}

  constructor () {
    let cancel!: (error: BlockferryError) => void
    this.cancelled = new Promise((_resolve, reject) => { cancel = reject })
    this.cancelled.catch(() => {})
    this.#reject = cancel
  }

  /** The options are there; what was said before them counts more. */
  begin ({ budgets, switchover }: CheckedMigrateOptions): void {
    this.#budgets = budgets
    this.setLimits(this.#early)
    if (switchover === 'auto') this.#wanted = true
    if (switchover instanceof Date) this.#forgetDate = atDate(switchover, () => this.want())
  }

  /** The migration is over. */
  end (): void {
    this.#forgetDate()
  }

  /** From here on it is told; at once what was said before. */
  tell (obeys: Obeys): void {
    this.#obeys = obeys
    obeys.holdSending(this.#paused)
    if (this.#wanted) obeys.want()
  }

  /** Before begin() there are none. */
  get budgets (): Budgets {
    if (this.#budgets === null) throw new BlockferryError('INTERNAL', 'budgets before the options')
    return this.#budgets
  }

  setLimits (budgets: NonNullable<MigrateOptions['budgets']>): void {
    const { downtimeMs, ...others } = checkBudgets(budgets)
    if (sharedIn(budgets) !== null) {
      throw new BlockferryError('INVALID', 'budgets.bandwidth: what is shared is changed by its own set()')
    }
    if (this.#budgets === null) {
      this.#early = { ...this.#early, ...budgets }
      return
    }
    this.#budgets = { ...this.#budgets, ...others, ...(budgets.downtime !== undefined && { downtimeMs }) }
    this.#obeys?.setBudgets(this.#budgets)
  }

  pause (on: boolean): void {
    this.#paused = on
    this.#obeys?.holdSending(on)
  }

  cancel (error: BlockferryError): void {
    this.#cancellation ??= error
    this.#reject(error)
  }

  /** Throws when the user has cancelled. */
  check (): void {
    if (this.#cancellation !== null) throw this.#cancellation
  }

  want (): void {
    this.#wanted = true
    this.#obeys?.want()
  }
}
