// Waits until all of some disks have arrived: one receive of the command line.
import { randomUUID } from 'node:crypto'

import { BlockferryError } from '../base/errors.js'
import type { ReceiveEvent } from '../session/events.js'
import type { ReceiveOptions } from '../destination/options.js'
import type { Receiver } from '../destination/receiver.js'
import { receive } from '../receive.js'
import type { Tap } from '../tap/tap.js'
import { hostPortText } from '../base/units.js'
import type { Emit, Job } from './job.js'
import type { PastMigration, RunningMigration } from './protocol.js'

export interface ReceiveJobOptions extends ReceiveOptions {
  /** A migration that fails does not end the listening; once a disk is here, or while another one that
   * was accepted is under way, none does. An offer that is refused never does. */
  keepListening: boolean
  /** Called in the turn in which a disk becomes ours. */
  arrived: (tap: Tap) => void
}

export class ReceiveJob implements Job {
  readonly id = randomUUID()
  readonly disks: string[]
  readonly #receiver: Receiver
  readonly #keepListening: boolean
  readonly #startedAt = new Date()
  readonly #missing: Set<string>
  readonly #address: string
  /** Accepted, and not at their end. */
  readonly #underWay = new Set<string | null>()
  #over = false
  #cancelling = false
  #durationMs: number | null = null
  #error: BlockferryError | null = null

  private constructor (receiver: Receiver, disks: string[], options: ReceiveJobOptions) {
    this.#receiver = receiver
    this.disks = disks
    this.#missing = new Set(disks)
    this.#keepListening = options.keepListening
    this.#address = hostPortText(receiver.address)
    receiver.on('committed', () => {
      for (const [name, tap] of receiver.taps) if (this.#missing.delete(name)) options.arrived(tap)
    })
  }

  static async listen (disks: string[], options: ReceiveJobOptions): Promise<ReceiveJob> {
    const { keepListening, arrived, ...receiveOptions } = options
    return new ReceiveJob(await receive(receiveOptions), disks, options)
  }

  /** Passes the events on; resolves when every disk is here. Rejects with the error of an accepted
   * migration that failed (unless told to keep listening), or CANCELLED. */
  async run (emit: Emit): Promise<void> {
    try {
      await this.#run(emit)
    } catch (error) {
      this.#error = error as BlockferryError
      throw error
    } finally {
      this.#over = true
      await this.#receiver.close({ waitForLost: !this.#cancelling })
    }
  }

  async #run (emit: Emit): Promise<void> {
    for await (const event of this.#receiver) {
      const shown = withOwner(event)
      emit(shown)
      if (event.event === 'started') this.#underWay.add(event.migration)
      if (event.event === 'committed') this.#underWay.delete(event.migration)
      if (event.event === 'done') this.#durationMs = event.report.durationMs
      if (event.event === 'done' && this.#missing.size === 0) return
      if (shown.event !== 'failed' || !this.#underWay.delete(shown.migration)) continue
      const isInVain = this.#underWay.size === 0 && this.#missing.size === this.disks.length
      if (isInVain && !this.#keepListening) throw shown.error
    }
    if (this.#missing.size > 0) throw this.#cancelled()
  }

  #cancelled (): BlockferryError {
    const here = this.disks.filter((name) => !this.#missing.has(name))
    const words = 'the receive was cancelled'
    if (here.length === 0) return new BlockferryError('CANCELLED', words, { owner: 'source' })
    const missing = [...this.#missing].join(', ')
    return new BlockferryError(
      'CANCELLED', `${words}: ${here.join(', ')} had arrived, ${missing} had not`, { owner: 'destination' })
  }

  /** Nothing more can come; it only waits for a source that may ask what became of it. */
  get over (): boolean {
    return this.#over
  }

  /** What has not committed stays with its source. */
  async cancel (): Promise<void> {
    this.#cancelling = true
    await this.#receiver.close()
  }

  describe (): RunningMigration {
    return {
      migration: this.id,
      direction: 'in',
      disks: this.disks,
      address: this.#address,
      startedAt: this.#startedAt.toISOString(),
      state: this.#underWay.size > 0 ? 'receiving' : 'listening',
      progress: null
    }
  }

  past (): PastMigration {
    return {
      migration: this.id,
      direction: 'in',
      disks: this.disks,
      address: this.#address,
      endedAt: new Date().toISOString(),
      durationMs: this.#durationMs,
      downtimeMs: null,
      error: this.#error
    }
  }
}

/** Before its commit a migration's disks belong to the source. */
function withOwner (event: ReceiveEvent): ReceiveEvent {
  if (event.event !== 'failed' || event.error.owner !== null) return event
  const { code, message, resumable, errno, cause } = event.error
  const error = new BlockferryError(code, message, { owner: 'source', resumable, errno, cause })
  return { ...event, error }
}
