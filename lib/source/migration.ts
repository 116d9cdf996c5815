// One migration at the source, as its user sees it: a promise of the report, a stream of events, and commands.
import { randomUUID } from 'node:crypto'

import { BlockferryError, toBlockferryError } from '../base/errors.js'
import { EventStream } from '../base/event-stream.js'
import { onAbort } from '../base/on-abort.js'
import type { Forecast } from '../policy/types.js'
import type { MigrationEvent } from '../session/events.js'
import type { Report } from '../session/report.js'
import { Commands } from './commands.js'
import { Move } from './move.js'
import type { MigrateOptions } from './options.js'
import { checkMigrateOptions } from './options.js'

const kNoForecast: Forecast = { eta: null, predictedDowntimeMs: null, limitedBy: 'none', relax: null }

export class Migration extends EventStream<MigrationEvent> implements Promise<Report> {
  readonly [Symbol.toStringTag] = 'Migration'
  readonly id = randomUUID()
  readonly #result: Promise<Report>
  readonly #commands = new Commands()
  #move: Move | null = null

  /** For migrate() and resume(). */
  constructor (options: MigrateOptions | Promise<MigrateOptions>) {
    super()
    this.#result = this.#run(options)
    this.#result.catch(() => {})
  }

  then<A = Report, B = never> (
    done?: ((report: Report) => A | PromiseLike<A>) | null,
    failed?: ((error: unknown) => B | PromiseLike<B>) | null
  ): Promise<A | B> {
    return this.#result.then(done, failed)
  }

  catch<B = never> (failed?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<Report | B> {
    return this.#result.catch(failed)
  }

  finally (settled?: (() => void) | null): Promise<Report> {
    return this.#result.finally(settled)
  }

  /** What is expected now: ETA range, downtime, what limits it, which budget to relax. */
  forecast (): Forecast {
    return this.#move?.forecast ?? kNoForecast
  }

  /** Changes budgets from now on; those not named stay. INVALID for nonsense. */
  setLimits (budgets: NonNullable<MigrateOptions['budgets']>): void {
    this.#commands.setLimits(budgets)
  }

  /** Sends nothing until resume(); writes are tracked meanwhile. */
  pause (): void {
    this.#commands.pause(true)
  }

  resume (): void {
    this.#commands.pause(false)
  }

  /** From here on the switchover happens as soon as the downtime budget is met. */
  switchover (): void {
    this.#commands.want()
  }

  /** Ends the migration; the source goes on alone. False when it is too late: the destination
   * has been told to decide. `keep` (the default) leaves what was copied for a later attempt. */
  cancel ({ destination = 'keep' }: { destination?: 'keep' | 'delete' } = {}): boolean {
    if (this.#move?.isDecided === true) return false
    this.#commands.keepsDestination = destination === 'keep'
    this.#commands.cancel(new BlockferryError('CANCELLED', 'the migration was cancelled'))
    return true
  }

  async #run (given: MigrateOptions | Promise<MigrateOptions>): Promise<Report> {
    let forget = () => {}
    try {
      // A caller can attach its listeners first.
      const options = checkMigrateOptions(await given)
      forget = onAbort(options.signal, () => this.cancel())
      this.#commands.begin(options)
      this.#move = await Move.open(this.id, options, this.#commands, (event) => this.emit(event))
      const report = await this.#move.run()
      this.emit({ event: 'done', report })
      return report
    } catch (thrown) {
      const error = this.#move === null
        ? toBlockferryError(thrown, { owner: 'source', resumable: false })
        : await this.#move.giveUp(thrown)
      this.emit({ event: 'failed', error })
      throw error
    } finally {
      forget()
      this.#commands.end()
      await this.#move?.close()
      this.end()
    }
  }
}
