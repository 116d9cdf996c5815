// The source's side of a migration in its journal; without one, nothing is remembered.
import { BlockferryError, toBlockferryError } from '../base/errors.js'
import type { OwnedDisk, SourceState } from './journal.js'
import { Journal } from './journal.js'

/** What is kept for resume(); the rest of it is the migration's business. */
export interface SourcePlan {
  disks: ReadonlyArray<{ name: string }>
  /** 'HOST:PORT'. */
  destination: string
}

export class SourceOwnership {
  readonly #journal: Journal | null
  readonly #own: boolean
  readonly #migration: string
  readonly #disks: readonly OwnedDisk[]
  readonly #plan: SourcePlan

  private constructor (
    journal: Journal | null, own: boolean, migration: string, plan: SourcePlan,
    disks: readonly OwnedDisk[]
  ) {
    this.#journal = journal
    this.#own = own
    this.#migration = migration
    this.#plan = plan
    this.#disks = disks
  }

  /** REFUSED when the journal says that a disk is not owned here. `sizes`: of each, see partOf(). */
  static async begin (
    journal: Journal | string | null, migration: string, plan: SourcePlan,
    sizes: ReadonlyArray<{ size?: number }>
  ): Promise<SourceOwnership> {
    const own = typeof journal === 'string'
    const opened = own ? await Journal.open(journal) : journal
    try {
      const disks = plan.disks.map(({ name }, index) => (
        { name, epoch: opened === null ? 0 : ownedEpoch(opened, name), ...sizes[index] }))
      const ownership = new SourceOwnership(opened, own, migration, plan, disks)
      await ownership.copying()
      return ownership
    } catch (error) {
      if (own) await opened?.close()
      throw error
    }
  }

  /** Of each disk; 0 without a journal. */
  get epochs (): number[] {
    return this.#disks.map(({ epoch }) => epoch)
  }

  async copying (): Promise<void> {
    await this.#write('copying', 0)
  }

  /** Must be durable before the commit message goes. */
  async committing (): Promise<void> {
    await this.#write('committing', 1)
  }

  /** What the journal fails to take now, recover() asks the destination for. */
  async moved (): Promise<void> {
    await this.#write('moved', 1).catch(() => {})
  }

  async kept (): Promise<void> {
    await this.#write('kept', 0).catch(() => {})
  }

  async close (): Promise<void> {
    if (this.#own) await this.#journal?.close()
  }

  async #write (state: SourceState, ahead: number): Promise<void> {
    const disks = this.#disks.map((disk) => ({ ...disk, epoch: disk.epoch + ahead }))
    const [migration, plan] = [this.#migration, this.#plan]
    try {
      await this.#journal?.write({ migration, role: 'source', state, disks, peer: plan.destination, plan })
    } catch (thrown) {
      // Whether it is there or not: no commit message goes without it, so the disks stay ours.
      const { code, message, errno } = toBlockferryError(thrown)
      throw new BlockferryError(code, message, { errno, cause: thrown })
    }
  }
}

function ownedEpoch (journal: Journal, name: string): number {
  const known = journal.ownershipOf(name)
  if (known === null) return 1
  if (known.whereabouts === 'here') return known.epoch
  const isUnknown = known.whereabouts === 'unknown'
  throw new BlockferryError(
    'REFUSED',
    `${name} is not owned here: the journal says ${isUnknown ? 'that nobody knows who does' : 'that it has moved'}`,
    { owner: isUnknown ? 'unknown' : 'destination' }
  )
}
