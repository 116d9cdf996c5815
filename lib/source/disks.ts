// The source's disks during a migration: their taps, tracked, throttled, held together.
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'

import { BlockferryError, toBlockferryError } from '../base/errors.js'
import { inTurn } from '../base/in-turn.js'
import type { Throttle } from '../policy/types.js'
import type { TapStats } from '../tap/tap.js'
import { openTap } from '../tap/open-tap.js'
import { Tap } from '../tap/tap.js'
import { chooseTap } from '../tap/probe.js'
import type { OfferedDisk } from '../session/messages.js'
import { kMaxPlaces } from '../session/messages.js'
import type { CheckedMigrateOptions } from './options.js'
import { OtherWriters } from './other-writers.js'

interface SourceTap {
  name: string
  tap: Tap
  /** Opened here, to be closed here. */
  own: boolean
  release: () => void
  before: TapStats
  others: OtherWriters
}

export interface WriterTotals {
  written: number
  writes: number
  delayMs: number
  writesDelayed: number
}

/** How long writes in flight may take to finish at the switchover. */
const kDrainMs = 30_000

export class SourceDisks {
  readonly taps: readonly SourceTap[]
  #written: number[]
  #throttled = false

  private constructor (taps: SourceTap[]) {
    this.taps = taps
    this.#written = taps.map(({ before }) => before.writtenBytes)
  }

  /** `capacity`: bytes of what a disk lies on, where that is larger. */
  sizes (): Array<{ name: string, bytes: number, capacity?: number }> {
    return this.taps.map(({ tap: { name, size, capacity } }) => (
      { name, bytes: size, ...(capacity > size && { capacity }) }))
  }

  /** Opens what is a path, claims every tap and begins to track. `sizes`: of disks that are not told of in
   * their options, bytes. */
  static async open (
    disks: CheckedMigrateOptions['disks'], sizes: ReadonlyMap<string, number>, blockSize: number, canPause: boolean
  ): Promise<SourceDisks> {
    const taps: SourceTap[] = []
    try {
      for (const disk of disks) {
        const { source, name, size = sizes.get(name) } = disk
        const own = !(source instanceof Tap)
        const sized = { ...disk, ...(size !== undefined && { size }) }
        const tap = own ? await openPath(source, sized, blockSize, canPause) : source
        const release = claim(tap)
        const others = new OtherWriters(name, tap)
        taps.push({ name, tap, own, release, before: tap.stats(), others })
        tap.trackForMigration(blockSize)
        await others.watch()
      }
    } catch (error) {
      await new SourceDisks(taps).close()
      throw toBlockferryError(error)
    }
    return new SourceDisks(taps)
  }

  /** As the destination is told of them; `epochs`: of each. */
  async offer (blockSize: number, epochs: readonly number[]): Promise<OfferedDisk[]> {
    return await Promise.all(this.taps.map(async ({ name, tap }, index) => ({
      name,
      size: tap.size,
      blockSize,
      epoch: epochs[index]!,
      places: (await tap.places()).slice(0, kMaxPlaces)
    })))
  }

  get size (): number {
    return this.taps.reduce((sum, { tap }) => sum + tap.size, 0)
  }

  /** Of each disk, since the migration began. */
  writersOf (): WriterTotals[] {
    return this.taps.map(({ tap, before }) => {
      const now = tap.stats()
      return {
        written: now.writtenBytes - before.writtenBytes,
        writes: now.writes - before.writes,
        delayMs: (now.delayUs - before.delayUs) / 1000,
        writesDelayed: now.writesDelayed - before.writesDelayed
      }
    })
  }

  /** Of all disks together. */
  writers (): WriterTotals {
    return this.writersOf().reduce((sum, one) => ({
      written: sum.written + one.written,
      writes: sum.writes + one.writes,
      delayMs: sum.delayMs + one.delayMs,
      writesDelayed: sum.writesDelayed + one.writesDelayed
    }))
  }

  beginRound (): void {
    for (const { tap } of this.taps) tap.native.beginRound()
  }

  /** Shares the limit among the disks by what each has written since the last call; none gets
   * less than a tenth of an equal share. */
  throttle (limit: Throttle | null): void {
    const written = this.taps.map(({ tap }) => tap.stats().writtenBytes)
    const recent = written.map((bytes, index) => bytes - this.#written[index]!)
    this.#written = written
    if (limit === null && !this.#throttled) return
    this.#throttled = limit !== null
    const total = recent.reduce((sum, bytes) => sum + bytes, 0)
    const count = this.taps.length
    for (const [index, { tap }] of this.taps.entries()) {
      const share = 0.1 / count + 0.9 * (total > 0 ? recent[index]! / total : 1 / count)
      tap.throttle(limit === null
        ? {}
        : {
            bytesPerSecond: limit.bytesPerSecond * share,
            burstBytes: limit.burstBytes * share,
            steps: limit.steps
          })
    }
  }

  /** Some taps in the kernel have no hold on the writers. */
  get canThrottle (): boolean {
    return this.taps.every(({ tap }) => tap.throttleObstacle === null)
  }

  /** INVALID. */
  async checkOptions (throttle: 'bucket' | 'steps' | 'none', journal: string | undefined): Promise<void> {
    this.#checkThrottle(throttle)
    if (journal !== undefined) await this.#checkJournal(journal)
  }

  /** A tap in the kernel can't slow the writers in this way. */
  #checkThrottle (scheme: 'bucket' | 'steps' | 'none'): void {
    const tap = this.taps.find(({ tap }) => tap.kind !== 'nbd')
    if (scheme !== 'steps' || tap === undefined) return
    throw new BlockferryError('INVALID', `throttle: the writers of ${tap.name} can't be delayed in steps`)
  }

  /** A journal on a disk that a 'dm' tap suspends: to write it would wait for that to end, and the other
   * way round. */
  async #checkJournal (path: string): Promise<void> {
    const { dev } = await stat(path).catch(async () => await stat(dirname(path)))
    for (const { tap } of this.taps) {
      if (tap.kind !== 'dm' || (await stat(tap.source)).rdev !== dev) continue
      throw new BlockferryError('INVALID', `journal: ${path} lies on the disk that moves, ${tap.name}`)
    }
  }

  /** UNACCOUNTED when a tap is known to have missed writes, or may have, TABLE_CHANGED when it was put out
   * of their way by another tool. */
  check (): void {
    for (const { tap, others } of this.taps) {
      tap.native.checkWatch()
      others.check()
    }
  }

  /** BUSY when somebody else has come to have a disk open for writing. */
  async checkOpeners (): Promise<void> {
    const checks = Promise.all(this.taps.map(({ others }) => others.checkOpeners()))
    await checks.catch((error: unknown) => { throw toBlockferryError(error) })
  }

  /** After UNACCOUNTED: begins to count anew. What was missed until now shows when the disks are
   * compared as a whole. */
  async beginAgain (): Promise<void> {
    for (const { others } of this.taps) await others.beginAgain()
  }

  hold (): void {
    for (const { tap } of this.taps) tap.native.hold()
  }

  /** The writers are stopped: when this resolves, all that they wrote is marked. NOT_EQUAL when a disk that
   * nobody may write has been; UNACCOUNTED and BUSY as in check() and checkOpeners(). */
  async drain (): Promise<void> {
    await Promise.all(this.taps.map(async ({ tap, others }) => {
      await tap.native.drain(kDrainMs)
      await others.checkWitness()
      await others.checkOpeners()
    })).catch((error: unknown) => { throw toBlockferryError(error) })
  }

  open (): void {
    for (const { tap } of this.taps) tap.native.open()
  }

  /** The destination may come to own the disks: if this process ends before open(), a tap that outlives
   * it lets nobody write. */
  async mayLose (): Promise<void> {
    await Promise.all(this.taps.map(({ tap }) => tap.native.mayLoseDisk()))
      .catch((error: unknown) => { throw toBlockferryError(error) })
  }

  refuse (): void {
    for (const { tap } of this.taps) tap.native.refuse()
  }

  /** Leaves the taps unthrottled and untracked, in whatever state their gates are. */
  async close (): Promise<void> {
    for (const { tap, own, release, others } of this.taps) {
      await inTurn(
        () => tap.throttle({}),
        async () => await others.close(),
        () => tap.untrackAfterMigration(),
        release,
        async () => { if (own) await tap.close() })
    }
  }
}

async function openPath (
  source: string, { name, tap, map: path, cgroup, force, size, holes }: CheckedMigrateOptions['disks'][number],
  blockSize: number, canPause: boolean
): Promise<Tap> {
  const kind = tap === 'auto' ? await chooseTap(source, canPause) : tap
  const map = path === undefined ? {} : { map: { path, blockSize } }
  const plain = {
    readOnly: true,
    ...(force !== undefined && { force }),
    ...(size !== undefined && { size }),
    ...(holes !== undefined && { holes })
  }
  const how = kind === 'nbd' ? plain : { tap: kind, ...(cgroup !== undefined && { cgroup }) }
  return await openTap({ source, name, ...map, ...how })
}

function claim (tap: Tap): () => void {
  const release = tap.useForMigration()
  if (tap.state === 'open') return release
  release()
  // Not owned here, or nobody knows.
  const [why, owner] = tap.state === 'refusing'
    ? ['refused', 'destination' as const]
    : ['on hold', 'unknown' as const]
  throw new BlockferryError('REFUSED', `${tap.name} is not owned here: its writes are ${why}`, { owner })
}
