// A tap: what sits in the write path of one disk. It marks dirty blocks, throttles the writer
// and quiesces. The NBD server (lib/nbd/server.ts) brings the writes to it. A tap in the kernel
// watches writes that go past us: 'bpf' does no more than that, 'dm' can hold them, too.
import { BlockferryError, toBlockferryError } from './errors.js'
import type { NativeTap, NativeTapStats, NativeThrottle } from './native.js'
import { native } from './native.js'
import type { Holes } from './tap/holes.js'
import { nativeOptions } from './tap/native-options.js'
import type { Slowing } from './tap/limit/slowing.js'
import { WriteDelay } from './tap/limit/write-delay.js'
import { WriterLimit } from './tap/limit/writer-limit.js'
import type { Place } from './tap/places.js'
import { placesOf } from './tap/places.js'
import { checkBlockSize, parseSize } from './units.js'

export interface TapOptions {
  /** A regular file or block device; or memory or null of a size, for tests and benchmarks. */
  source: string | { memory: number | string } | { null: number | string }
  /** The export's name, and the disk's in a migration. Default 'disk'. */
  name?: string
  /** Whose writes it sees. 'nbd': those that an NbdServer brings to it, and nobody else may write.
   * 'bpf': whoever writes to the block device or partition `source`, which is in use and stays
   * so: it is attached by eBPF, which delays writes by some milliseconds, and leaves nothing behind
   * (but see `map`). It can't stop the writers (see quiesce()), and slows them by cgroups (see
   * `cgroup`). It takes `name`, `map` and `cgroup`. Needs root and a kernel with BTF: probe() tells.
   * 'dm': whoever writes to `source`, a device of device-mapper (LVM, dm-crypt) that is in use and
   * stays so: dm-era is put under it, which delays writes by some milliseconds, again for each of its
   * checkpoints (up to ten a second), and is taken out by close(). It knows what was written by 32
   * KiB, slows the writers by cgroups, and stops them itself. Takes `name`, `metadata` and `cgroup`.
   * Needs root, and of the devices those of linear, striped, crypt and thin targets. Default 'nbd'. */
  tap?: TapKind
  /** Of a 'dm' tap, where dm-era keeps what it knows: a folder, in which it makes a file without a
   * name, or a block device of its own, whose content is lost. It takes 12 bytes for each 32 KiB
   * of the disk and 16 MiB. Default: memory. */
  metadata?: string
  /** Bytes, of a file or device: the disk is the first so many of it, a positive multiple of 512, and what
   * lies behind can neither be read nor written: it was moved to larger storage, which LVM and others
   * round up to. TOO_SMALL when there are fewer. Default: all of it. */
  size?: number | string
  /** Open for reading only. Default false. */
  readOnly?: boolean
  /** O_DIRECT: no page cache; requests must be aligned to the logical block size. Default false. */
  direct?: boolean
  /** Create a missing file with this size. Default: a missing file is an error, NOT_FOUND. */
  createSize?: number | string
  /** Take it although another program has it locked or open for writing, else BUSY, and hold what can be
   * held; of processes of other users only root sees what they have open. And take it as a raw disk although
   * it looks like an image in another format (qcow2, QED, VMDK, VHD, VHDX, VDI, Parallels), else UNSUPPORTED.
   * Default false. */
  force?: boolean
  /** Of a file: whether what its file system tells as a hole is taken for zeroes without being read, in
   * every pass, comparison and inventory, and for NBD clients that ask. 'trust': yes; 'read': no, all of it
   * is read, however large it is; 'auto': yes on ext2 to ext4, XFS, Btrfs, F2FS and tmpfs, which answer as
   * they read, no on all others (NFS, SMB, Ceph, FUSE, ZFS, overlays …). No digest shows a hole that was
   * believed and was none. Default 'auto'. */
  holes?: Holes
  /** A map file: what is tracked of the disk outlives the process there, so that a migration that
   * goes on after a crash neither reads nor sends again what has not changed. It takes 0.2 % of what
   * is not zeroes in the disk (where that can't be allocated later, nothing is remembered; on a file
   * system that does not tell holes exactly, of the disk's size at once) and 96 MiB per TiB of its size,
   * at blocks of 4 KiB, NO_SPACE without these. It holds for one boot of the host: a folder in /run is the place for it. Only for
   * the disk and block size (default 4 KiB) that it was made for; made when it is missing. What
   * may have been written past the tap meanwhile is forgotten: any change of a file later than the
   * tap's own last write, any at all of a device whose tap was not closed.
   *
   * A 'bpf' tap with a map file goes on in the kernel when its process is killed: it is pinned below
   * /sys/fs/bpf, which is mounted when it is not, until openTap() with the same map takes it over, or
   * removeLeftTap(). Nobody writes past it, so nothing is forgotten. close() takes it out of the kernel,
   * and what the map file remembers is forgotten then. */
  map?: string | { path: string, blockSize?: number | string }
  /** For a tap in the kernel: the folder of the cgroup whose writes throttle() limits. Default: on a host with
   * cgroup version 1 the root, which has the limit of the whole disk; with version 2 those of the
   * processes that have the device open, and of the threads of Xen's blkback that serve it, each with
   * an equal part. Such a thread begins in the root, where nothing is limited: move it to a group first. */
  cgroup?: string
}

export type TapKind = 'nbd' | 'bpf' | 'dm'

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
      await this.native.settle(timeoutMs)
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
  claimForMigration (): () => void {
    if (this.#closed) throw new BlockferryError('CLOSED', `${this.name} is closed`)
    if (this.#migrating) throw new BlockferryError('BUSY', `${this.name} is being migrated already`)
    this.#migrating = true
    return () => { this.#migrating = false }
  }
}

/** Opens a tap on a disk. Errors: NOT_FOUND, IS_DIRECTORY, BAD_SIZE (not a positive multiple of
 * 512), TOO_SMALL (for `size`), BUSY (the disk, or the map file), READ_ONLY, NO_PERMISSION, UNSUPPORTED (no file, no device; an
 * image in another format; no direct I/O; a kernel or a device that the tap can't be attached to), NO_SPACE
 * for the map file, REFUSED when what lies there is none, or for a device that an earlier 'dm' tap has
 * fenced. */
export async function openTap (options: TapOptions): Promise<Tap> {
  return await open(options, options.force === true)
}

/** For lib/ only: whatever it looks like. */
export async function openRawTap (options: TapOptions): Promise<Tap> {
  return await open(options, true)
}

async function open (options: TapOptions, raw: boolean): Promise<Tap> {
  const { source, name = 'disk', tap = 'nbd' } = options
  if (typeof name !== 'string' || name === '' || Buffer.byteLength(name) > 255) {
    throw new BlockferryError('INVALID', 'name: must be a text of 1 to 255 bytes')
  }
  try {
    const limit = tap === 'nbd' ? null : await findLimit(options)
    const isWatched = tap !== 'nbd' && typeof source === 'string'
    const path = isWatched ? source : undefined
    const delayed = limit instanceof BlockferryError ? await openDelayed(options, limit) : null
    if (delayed !== null) return new Tap(name, delayed, tap, path, new WriteDelay(delayed))
    const opened = await native.openTap({ ...nativeOptions(source, options), raw })
    // What it remembers between migrations holds only if nobody else writes.
    if (options.map !== undefined && tap === 'nbd') opened.watchOpens()
    return new Tap(name, opened, tap, path, limit, options.force)
  } catch (error) {
    throw toBlockferryError(error)
  }
}

/** Or why there is none: a tap that only watches is of use. NOT_FOUND and the like come from the tap. */
async function findLimit ({ source, cgroup }: TapOptions): Promise<WriterLimit | BlockferryError> {
  try {
    const limit = await WriterLimit.find(source as string, cgroup)
    limit.restoreLeft()
    return limit
  } catch (error) {
    return toBlockferryError(error)
  }
}

/** A dm tap can slow the writers itself, where cgroups can't. null: not this one, not here. */
async function openDelayed (options: TapOptions, obstacle: BlockferryError): Promise<NativeTap | null> {
  const { source, tap, cgroup } = options
  if (tap !== 'dm' || cgroup !== undefined || obstacle.code !== 'UNSUPPORTED') return null
  return await native.openTap({ ...nativeOptions(source, options), delays: true }).catch((error: unknown) => {
    if (toBlockferryError(error).code === 'UNSUPPORTED') return null
    throw error
  })
}
