// The destination's side of a migration in its journal; without one, nothing is remembered.
import { BlockferryError } from '../base/errors.js'
import type { DestinationState, Journal, OwnedDisk } from './journal.js'

export class DestinationOwnership {
  readonly #journal: Journal | null
  readonly #migration: string
  readonly #disks: readonly OwnedDisk[]
  readonly #peer: string

  private constructor (
    journal: Journal | null, migration: string, disks: readonly OwnedDisk[], peer: string
  ) {
    this.#journal = journal
    this.#migration = migration
    this.#disks = disks
    this.#peer = peer
  }

  /** REFUSED when the journal says that a disk is owned here, or might be, or that what is offered
   * is older than what this side has seen. `peer`: whom TLS has shown the source to be, or empty. */
  static async begin (
    journal: Journal | null, migration: string, disks: readonly OwnedDisk[], peer: string
  ): Promise<DestinationOwnership> {
    if (journal !== null) for (const disk of disks) checkOffered(journal, disk)
    const ownership = new DestinationOwnership(
      journal, migration, disks, peer)
    await ownership.#write('receiving', 0, [])
    return ownership
  }

  /** The one record that decides: when it is durable, the disks are owned here. */
  async committed (digests: string[]): Promise<void> {
    await this.#write('committed', 1, digests)
  }

  /** What the journal fails to take now, opening it again adds. */
  async refused (): Promise<void> {
    await this.#write('refused', 0, []).catch(() => {})
  }

  async #write (state: DestinationState, ahead: number, digests: string[]): Promise<void> {
    const disks = this.#disks.map((disk) => ({ ...disk, epoch: disk.epoch + ahead }))
    const peer = this.#peer === '' ? {} : { peer: this.#peer }
    await this.#journal?.write({ migration: this.#migration, role: 'destination', state, disks, digests, ...peer })
  }
}

function checkOffered (journal: Journal, { name, epoch }: OwnedDisk): void {
  const known = journal.ownershipOf(name)
  if (known === null) return
  if (known.whereabouts !== 'elsewhere') {
    const words = known.whereabouts === 'here' ? 'is owned here' : 'may be owned here'
    throw new BlockferryError('REFUSED', `${name} ${words}: the destination's journal says so`)
  }
  if (epoch !== 0 && epoch < known.epoch) {
    throw new BlockferryError(
      'REFUSED', `${name}: what is offered is of epoch ${epoch}, and epoch ${known.epoch} was seen here`)
  }
}
