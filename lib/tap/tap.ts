// A tap: what sits in the write path of one disk. It marks dirty blocks, throttles the writer
// and quiesces. The NBD server (lib/nbd/server.ts) brings the writes to it. A tap in the kernel
// watches writes that go past us: 'bpf' does no more than that, 'dm' can hold them, too.
import { BlockferryError, toBlockferryError } from '../base/errors.js'
import type { NativeTap, NativeTapStats, NativeThrottle } from '../native/types.js'
import type { TapKind } from './options.js'
import type { Slowing } from './limit/slowing.js'
import type { Place } from './places.js'
import { placesOf } from './places.js'
import { checkBlockSize, parseSize } from '../base/units.js'

export type TapState = 'open' | 'holding' | 'refusing'

/** Counted since the tap was opened. `latency[i]`: writes whose service took 2^i to 2^(i+1) µs. */
export type TapStats = NativeTapStats

/** Bytes and writes a second (0 or absent: no limit) and the bursts that may go at once; `steps`:
 * after so many writes in a round delay each further one by so many µs. */
export type TapThrottle = NativeThrottle

export interface Extent { offset: number, length: number }

export class Tap implements AsyncDisposable {
  readonly name: string
  /** The path behind it, or what stands for one. */
  readonly source: string
  /** Where a transport of one's own reads the disk. The source, but for a 'dm' tap: reads of the tapped
   * device wait while it is quiesced. */
  readonly readPath: string
  readonly readOnly: boolean
  /** The block size of its map file; null without one. */
  readonly mapBlockSize: number | null
  readonly kind: TapKind
  /** For lib/ only: others may write it. */
  readonly force: boolean
  /** For lib/ only. */
  readonly native: NativeTap
  readonly #limit: Slowing | BlockferryError | null
  #facts: ReturnType<NativeTap['describe']>
  #migrating = false
  #closed = false

  /** For openTap(). `path`: of the device that a tap in the kernel is on; `limit`: what slows the
   * writers of one, or why nothing can. */
  constructor (
    name: string, tap: NativeTap, kind: TapKind, path?: string,
    limit: Slowing | BlockferryError | null = null, force = false
  ) {
    this.#facts = tap.describe()
    const { name: source, readOnly, mapBlockSize } = this.#facts
    this.name = name
    this.kind = kind
    this.force = force
    this.#limit = limit
    this.native = tap
    this.source = path ?? source
    this.readPath = source
    this.readOnly = readOnly
    this.mapBlockSize = mapBlockSize === 0 ? null : mapBlockSize
  }

  /** Bytes. A disk that comes here changes it to its own. */
  get size (): number {
    return this.#facts.size
  }

  /** Bytes: what the source has room for. More than `size` where the disk ends before. */
  get capacity (): number {
    return this.#facts.capacity
  }

  /** 1, or what requests must be aligned to with direct I/O. */
  get alignment (): number {
    return this.#facts.alignment
  }

  /** There is nothing but holes in it: everything reads as zeroes. False when that can't be
   * told quickly. */
  get blank (): boolean {
    return this.native.describe().blank
  }

  get closed (): boolean {
    return this.#closed
  }

  /** `open`: writes go on; `holding`: they wait; `refusing`: they fail, this side does not own
   * the disk. */
  get state (): TapState {
    return this.native.state()
  }

  stats (): TapStats {
    const stats = this.native.stats()
    if (this.#limit === null || this.#limit instanceof BlockferryError) return stats
    const { writtenBytes, writes } = stats
    return { ...stats, delayUs: 1000 * this.#limit.delayMs(performance.now(), writtenBytes, writes) }
  }

  /** Begins to track writes: a new dirty map with every block clean. `blockSize`: a power of two,
   * 4 KiB to 1 MiB, default 4 KiB. INVALID with a map file, where it tracks all the time. */
  track (blockSize: number | string = 4096): void {
    this.#checkNoMap()
    this.native.track(checkBlockSize('blockSize', blockSize))
  }

  /** INVALID with a map file. */
  untrack (): void {
    this.#checkNoMap()
    this.native.untrack()
  }

  /** Bytes that were sent in an earlier migration and have not changed since. */
  get rememberedBytes (): number {
    return this.native.remembered()
  }

  /** Marks bytes dirty (for a first round: the whole disk). */
  mark (offset = 0, length = this.size): void {
    this.native.mark(offset, length)
  }

  /** One round for a transport of one's own: every extent that is dirty when the round reaches
   * it, in order, each at most `limit` bytes. An extent is clean from when it is yielded: read it
   * after that, and mark() it again when it could not be delivered. What migrations sent
   * before is not remembered then. */
  * round (limit: number | string = '1MiB'): Generator<Extent> {
    const most = parseSize('limit', limit)
    this.native.beginRound()
    for (let from = 0; from < this.size;) {
      const extent = this.native.claim(from, most)
      if (extent === null) return
      yield extent
      from = extent.offset + extent.length
    }
  }

  /** Bytes that are dirty now. */
  get dirtyBytes (): number {
    return this.native.dirty()
  }

  /** Limits the writers from now on; {} lifts every limit. A 'bpf' tap has the kernel limit them: it
   * takes no bursts and no steps (INVALID), and a limit holds for a partition's whole disk (BUSY when
   * two taps would limit one). A small change may take up to a second. A 'dm' tap does the same, or where
   * cgroups can't delays each write by as much as it takes, up to 2 s, which it finds out within some
   * seconds. UNSUPPORTED where the kernel can't, NO_PERMISSION. */
  throttle (limits: TapThrottle): void {
    if (this.#limit === null) return this.native.setThrottle(limits)
    const isAny = limits.bytesPerSecond || limits.writesPerSecond || limits.steps?.length
    if (this.#limit instanceof BlockferryError) {
      if (isAny) throw this.#limit
      return
    }
    if (limits.steps?.length) {
      throw new BlockferryError('INVALID', `steps: the tap of ${this.name} has the kernel limit the writers`)
    }
    if (isAny && this.#closed) throw new BlockferryError('CLOSED', 'the tap is closed')
    this.#limit.set(limits)
  }

  /** Why throttle() can't be had; null when it can. */
  get throttleObstacle (): string | null {
    return this.#limit instanceof BlockferryError ? this.#limit.message : null
  }

  /** Lets no new write begin and waits for those that have begun: after this nothing changes.
   * TIMEOUT (and the tap is open again) when they take longer than `timeoutMs`, default 30 s.
   *
   * A 'bpf' tap can't hold writes: stop the writers first (the hypervisor's pause, fsfreeze). This
   * then writes back what the device's page cache holds, waits for the last write, marks it, and checks
   * by the kernel's statistics that none was missed: UNACCOUNTED means that the marks are not to be
   * relied on and the whole disk has to be compared.
   *
   * A 'dm' tap writes back what the device's page cache holds, freezes the file system on it if one is
   * mounted, and suspends it: reads and writes wait until release(), refuse() or close(). */
  async quiesce (timeoutMs = 30_000): Promise<void> {
    this.native.hold()
    try {
      await this.native.drain(timeoutMs)
    } catch (error) {
      this.native.open()
      throw toBlockferryError(error)
    }
  }

  /** Writes go on. */
  release (): void {
    this.native.open()
  }

  /** Writes fail from now on, those on hold too: another side owns the disk. A 'dm' tap sees to it that
   * they fail also when it is closed, or killed, until `blockferry recover` gives the device back, or a
   * migration comes back to it. */
  refuse (): void {
    this.native.refuse()
  }

  /** What was written is on stable storage when this resolves. */
  async flush (): Promise<void> {
    await this.native.flush().catch((error: unknown) => { throw toBlockferryError(error) })
  }

  /** Lets go of the file. End the servers and migrations that use the tap before. Idempotent. */
  async close (): Promise<void> {
    if (this.#migrating) throw new BlockferryError('BUSY', `${this.name} is being migrated`)
    if (this.#closed) return
    this.#closed = true
    if (this.#limit !== null && !(this.#limit instanceof BlockferryError)) await this.#limit.lift()
    await this.native.close()
  }

  [Symbol.asyncDispose] (): Promise<void> {
    return this.close()
  }

  #checkNoMap (): void {
    if (this.mapBlockSize === null) return
    throw new BlockferryError('INVALID', `${this.name} tracks in its map file as long as it is open`)
  }

  /** For lib/ only: begins to track for a migration. INVALID when a map file has other blocks. */
  trackForMigration (blockSize: number): void {
    if (this.mapBlockSize === null) return this.native.track(blockSize)
    if (this.mapBlockSize === blockSize) return
    throw new BlockferryError('INVALID',
      `blockSize: the map file of ${this.name} has blocks of ${this.mapBlockSize} bytes`)
  }

  /** For lib/ only: the migration has ended. */
  untrackAfterMigration (): void {
    if (this.mapBlockSize === null) this.native.untrack()
  }

  /** For lib/ only: the disk that comes has another size. TOO_SMALL; BAD_SIZE when it can't be changed, as
   * an NBD client was told of the one before, or a map file is for it. */
  setSize (bytes: number): void {
    try {
      this.native.setSize(bytes)
    } catch (error) {
      throw toBlockferryError(error)
    }
    this.#facts = this.native.describe()
  }

  /** For lib/ only: takes all the space that the disk can need. NO_SPACE; UNSUPPORTED where the file system
   * can't. */
  async allocate (): Promise<void> {
    await this.native.allocate().catch((error: unknown) => { throw toBlockferryError(error) })
  }

  /** For lib/ only: where its bytes lie. */
  async places (): Promise<Place[]> {
    const { descriptor } = this.native.describe()
    return await placesOf(this.kind === 'dm' ? this.source : `/proc/self/fd/${descriptor}`)
  }

  /** For lib/ only: one migration at a time. */
  useForMigration (): () => void {
    if (this.#closed) throw new BlockferryError('CLOSED', `${this.name} is closed`)
    if (this.#migrating) throw new BlockferryError('BUSY', `${this.name} is being migrated already`)
    this.#migrating = true
    return () => { this.#migrating = false }
  }
}
