// A migration that a process runs for its control socket: out of it.
import { BlockferryError } from '../base/errors.js'
import { migrate } from '../migrate.js'
import type { Migration } from '../source/migration.js'
import type { MigrationEvent, Progress } from '../session/events.js'
import type { MigrateOptions } from '../source/options.js'
import type { Report } from '../session/report.js'
import type { Emit, Job } from './job.js'
import type { PastMigration, RunningMigration } from './protocol.js'
import { ownerUnknownAfter } from './owner-unknown.js'

export class SendJob implements Job {
  readonly disks: string[]
  /** The options may still be nonsense: then run() rejects. */
  readonly migration: Migration
  readonly #address: string
  readonly #startedAt = new Date()
  #state: RunningMigration['state'] = 'starting'
  #paused = false
  #ownerUnknown = false
  #progress: Progress | null = null
  #report: Report | null = null
  #error: BlockferryError | null = null

  constructor (options: MigrateOptions, disks: string[], address: string) {
    this.disks = disks
    this.#address = address
    this.migration = migrate(options)
  }

  get id (): string {
    return this.migration.id
  }

  /** Passes the events on and resolves when it is over. */
  async run (emit: Emit): Promise<Report> {
    for await (const event of this.migration) {
      this.#note(event)
      emit(event)
    }
    try {
      this.#report = await this.migration
      return this.#report
    } catch (error) {
      this.#error = error as BlockferryError
      throw error
    }
  }

  #note (event: MigrationEvent): void {
    if (event.event === 'started' || event.event === 'resumed') this.#state = 'copying'
    if (event.event === 'ready') this.#state = 'ready'
    if (event.event === 'switchover') this.#state = 'switchover'
    if (event.event === 'progress') this.#progress = event
    this.#ownerUnknown = ownerUnknownAfter(event, this.#ownerUnknown)
  }

  /** The owner of its disks is unknown here. */
  get ownerUnknown (): boolean {
    return this.#ownerUnknown
  }

  pause (): void {
    this.migration.pause()
    this.#paused = true
  }

  resume (): void {
    this.migration.resume()
    this.#paused = false
  }

  /** Until it is over. Throws BUSY when it is too late to cancel. */
  async cancel (destination: 'keep' | 'delete'): Promise<void> {
    const inTime = this.migration.cancel({ destination })
    await this.migration.catch(() => {})
    if (inTime) return
    throw new BlockferryError('BUSY', 'too late: the switchover could not be taken back')
  }

  describe (): RunningMigration {
    return {
      migration: this.id,
      direction: 'out',
      disks: this.disks,
      address: this.#address,
      startedAt: this.#startedAt.toISOString(),
      state: this.#paused && this.#state !== 'switchover' ? 'paused' : this.#state,
      progress: this.#progress
    }
  }

  past (): PastMigration {
    return {
      migration: this.id,
      direction: 'out',
      disks: this.disks,
      address: this.#address,
      endedAt: new Date().toISOString(),
      durationMs: this.#report?.durationMs ?? null,
      downtimeMs: this.#report?.downtimeMs ?? null,
      error: this.#error
    }
  }
}
