// What the destination's disks hold, for a source that asks before it overwrites anything.
import { BlockferryError } from '../base/errors.js'
import type { Messages } from '../session/messages.js'
import type { DestinationDisks } from './disks.js'

export class Probes {
  #running: Promise<string[]> | null = null

  /** `disks`: null before they are accepted.
   * PROTOCOL for a second one at a time and for a disk that is none; INVALID for a range that is none. */
  async answer (disks: DestinationDisks | null, { disk, ranges }: Messages['probe']): Promise<Messages['probed']> {
    const probed = disks?.taps[disk]
    if (probed === undefined || this.#running !== null) throw new BlockferryError('PROTOCOL', 'a probe out of place')
    this.#running = probed.tap.native.hashes(ranges, true)
    try {
      return { hashes: await this.#running }
    } finally {
      this.#running = null
    }
  }

  /** None reads any more. */
  async ended (): Promise<void> {
    await this.#running?.catch(() => {})
  }
}
