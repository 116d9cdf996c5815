// Who owns each disk, as far as this side knows, across crashes: one journal for all disks and
// migrations of a host, out of it and into it. The states carry the names of the model in
// test/model/ownership.pml.
//
//   source        copying → committing → moved | kept
//   destination   receiving → committed | refused
//
// Every change is durable before anybody acts on it: `committing` before the commit message goes,
// `committed` before a write is let through or the source is answered.
import { BlockferryError } from '../base/errors.js'
import { JournalFile } from './journal-file.js'

export type SourceState = 'copying' | 'committing' | 'moved' | 'kept'
export type DestinationState = 'receiving' | 'committed' | 'refused'

export interface OwnedDisk {
  name: string
  /** Grows with each change of the owner; whoever has the newest committed one may write. */
  epoch: number
  /** Bytes, where what it lies on is larger. */
  size?: number
}

/** What tells a disk from the larger storage that it lies on. */
export function partOf ({ size, capacity }: { size: number, capacity: number }): { size?: number } {
  return size < capacity ? { size } : {}
}

export interface OwnershipRecord {
  at: string
  migration: string
  role: 'source' | 'destination'
  state: SourceState | DestinationState
  /** With the epochs that hold when the state is as it is. */
  disks: OwnedDisk[]
  /** Source: where the destination listened, 'HOST:PORT'. Destination: whom TLS has shown the source
   * to be. */
  peer?: string
  /** Source: for resume(); what lib/source/plan.ts makes of a migration's options. */
  plan?: object
  /** Destination: of the disks, for a source that asks. */
  digests?: string[]
}

/** `here`: writes are welcome on this side. */
export type Whereabouts = 'here' | 'elsewhere' | 'unknown'

const kStates: Record<OwnershipRecord['role'], readonly string[]> = {
  source: ['copying', 'committing', 'moved', 'kept'],
  destination: ['receiving', 'committed', 'refused']
}

const kWhereabouts: Record<SourceState | DestinationState, Whereabouts> = {
  copying: 'here',
  committing: 'unknown',
  moved: 'elsewhere',
  kept: 'here',
  receiving: 'elsewhere',
  committed: 'here',
  refused: 'elsewhere'
}

export interface DiskOwnership {
  whereabouts: Whereabouts
  epoch: number
  /** The last that concerned it. */
  record: OwnershipRecord
}

export class Journal implements AsyncDisposable {
  readonly #file: JournalFile<OwnershipRecord>

  private constructor (file: JournalFile<OwnershipRecord>) {
    this.#file = file
  }

  /** See JournalFile.open(). */
  static async open (path: string): Promise<Journal> {
    if (typeof path !== 'string' || path === '') {
      throw new BlockferryError('INVALID', 'journal: must be a path')
    }
    const file = await JournalFile.open<OwnershipRecord>(path)
    const strange = file.records.findIndex((record) => !isRecord(record))
    if (strange >= 0) {
      await file.close()
      throw new BlockferryError('JOURNAL', `${path}: record ${strange + 1} is none that this version knows`)
    }
    const journal = new Journal(file)
    await journal.#settleTheDead()
    return journal
  }

  /** Whoever wrote it has ended. A destination that died undecided never will commit, and no commit
   * message went out before `committing` was written. */
  async #settleTheDead (): Promise<void> {
    for (const record of this.#latest().values()) {
      if (record.state === 'receiving') await this.recordOutcome(record, 'refused')
      if (record.state === 'copying') await this.recordOutcome(record, 'kept')
    }
  }

  get path (): string {
    return this.#file.path
  }

  /** What is known of a disk; null: it never was in a migration here. */
  ownershipOf (name: string): DiskOwnership | null {
    for (const record of this.#file.records.toReversed()) {
      const disk = record.disks.find((disk) => disk.name === name)
      if (disk !== undefined) {
        return { whereabouts: kWhereabouts[record.state], epoch: disk.epoch, record }
      }
    }
    return null
  }

  /** Bytes, of a disk that lies on larger storage; null: it has all of its storage, or is not known. */
  sizeOf (name: string): number | null {
    return this.ownershipOf(name)?.record.disks.find((disk) => disk.name === name)?.size ?? null
  }

  /** Every disk that is in it. */
  names (): string[] {
    return [...new Set(this.#file.records.flatMap(({ disks }) => disks.map(({ name }) => name)))]
  }

  /** The last record of each migration whose outcome is not known here. */
  unknown (): OwnershipRecord[] {
    return [...this.#latest().values()].filter(({ state }) => state === 'committing')
  }

  /** The last record of a migration; null: it is not known here. */
  recordOf (migration: string): OwnershipRecord | null {
    return this.#latest().get(migration) ?? null
  }

  /** Of the last migration out of this host; null when there was none, or an older version's, or
   * its disks went and came back since: that one is done. */
  lastPlan (): object | null {
    const last = this.#file.records.findLast(({ role }) => role === 'source')
    if (last === undefined || (last.state === 'moved' && this.#areHere(last.disks))) return null
    return last.plan ?? null
  }

  #areHere (disks: readonly OwnedDisk[]): boolean {
    return disks.every(({ name }) => this.ownershipOf(name)?.whereabouts === 'here')
  }

  /** Durable when it resolves. */
  async write (record: Omit<OwnershipRecord, 'at'>): Promise<void> {
    await this.#file.append({ at: new Date().toISOString(), ...record })
  }

  /** The next state of a migration that is known here. */
  async recordOutcome ({ at: _at, ...record }: OwnershipRecord, state: 'moved' | 'kept' | 'refused'): Promise<void> {
    const back = state !== 'moved' && record.state === 'committing'
    const disks = back ? record.disks.map((disk) => ({ ...disk, epoch: disk.epoch - 1 })) : record.disks
    await this.write({ ...record, disks, state })
  }

  /** Idempotent, while nothing is written to it. */
  async close (): Promise<void> {
    await this.#file.close()
  }

  [Symbol.asyncDispose] (): Promise<void> {
    return this.close()
  }

  #latest (): Map<string, OwnershipRecord> {
    return new Map(this.#file.records.map((record) => [record.migration, record]))
  }
}

/** Its check is right, so blockferry wrote it; another version may have written something else. */
function isRecord (record: any): record is OwnershipRecord {
  const { at, migration, role, state, disks, peer = '', digests = [], plan = {} } = record ?? {}
  const isText = (value: unknown) => typeof value === 'string'
  const isSize = (size: unknown) => size === undefined || (Number.isSafeInteger(size) && (size as number) > 0)
  const isDisk = (disk: any) => isText(disk?.name) && Number.isSafeInteger(disk.epoch) && isSize(disk.size)
  return [at, migration, peer].every(isText) && Object.hasOwn(kStates, role) &&
    kStates[role as OwnershipRecord['role']].includes(state) &&
    typeof plan === 'object' && plan !== null &&
    Array.isArray(disks) && disks.every(isDisk) && Array.isArray(digests) && digests.every(isText)
}
