// The guest's own writer, and how much of its pace it keeps while the guest moves.

import { GuestService } from '../../testbed/guests/service.js'
import { guestAddress } from '../../testbed/hosts/hosts.js'

export class Stress {
  readonly #service: GuestService
  #counts: { atMs: number, blocks: number }[] = []

  /** Starts to write blocks of 4 KiB at random places of a file of 64 MiB, as fast as it can. */
  static async start (clientNamespace: string): Promise<Stress> {
    const stress = new Stress(new GuestService(clientNamespace, guestAddress))
    await stress.#service.startStress({ sync: false })
    return stress
  }

  private constructor (service: GuestService) {
    this.#service = service
  }

  /** Notes how far it is. */
  async note (): Promise<void> {
    const blocks = await this.#service.stressCount()
    this.#counts.push({ atMs: performance.now(), blocks })
  }

  /** Writes a second between the first note and the second, and the share kept up to the third. */
  figures (): { writesPerSecond: number, writerShare: number } {
    const [first, second, third] = this.#counts
    const before = rate(first, second)
    return { writesPerSecond: before, writerShare: rate(second, third) / before }
  }
}

type Count = { atMs: number, blocks: number } | undefined

function rate (from: Count, to: Count): number {
  if (from === undefined || to === undefined) return NaN
  return ((to.blocks - from.blocks) * 1000) / (to.atMs - from.atMs)
}
