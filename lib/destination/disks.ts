// The destination's disks: opened for a migration, refused to writers until they have arrived.
import { stat, unlink } from 'node:fs/promises'

import { BlockferryError, toBlockferryError } from '../base/errors.js'
import type { NativeSession } from '../native/types.js'
import { native } from '../native/addon.js'
import type { OwnedDisk } from '../ownership/journal.js'
import { partOf } from '../ownership/journal.js'
import type { Tap } from '../tap/tap.js'
import { openRawTap, openTap } from '../tap/open-tap.js'
import type { Place } from '../tap/places.js'
import { commonPlace, placesOf } from '../tap/places.js'
import { checkBlockSize } from '../base/units.js'
import type { OfferedDisk } from '../session/messages.js'
import type { CheckedReceiveOptions } from './options.js'
import type { DestinationReport } from '../session/report.js'
import { sumDigests } from '../session/report.js'

/** 16 TiB at 4 KiB: the maps of a disk then take 1.5 GiB at the most. */
const kMaxBlocks = 2 ** 32

type WantedDisk = CheckedReceiveOptions['disks'][number]

/** What lies there is what came, whatever it looks like: when the link was lost it is opened again. */
const written = new WeakSet<WantedDisk>()
/** The files that were made for what was to come: which inode. */
const made = new WeakMap<WantedDisk, string>()

export interface DestinationTap {
  offered: OfferedDisk
  tap: Tap
  wanted: WantedDisk
  /** The path did not exist before. */
  created: boolean
  /** It is not the source's own: it was made for it, or the operator says so. */
  separate: boolean
  /** Bytes: of a tap, before this disk came. */
  sizeBefore: number
  release: () => void
}

export class DestinationDisks {
  readonly taps: DestinationTap[] = []

  /** Opens and claims every disk that is offered. Errors: NOT_FOUND (no such name here), REFUSED
   * (owned here already; the very disk that is to move; fenced, and nobody knows whether its disk has
   * moved), TOO_SMALL, BAD_SIZE (it is served with another size), READ_ONLY, BUSY, NO_SPACE, and those of
   * openTap(). */
  static async open (offered: OfferedDisk[], wanted: readonly WantedDisk[]): Promise<DestinationDisks> {
    const disks = new DestinationDisks()
    try {
      const places = offered.flatMap((disk) => disk.places)
      for (const disk of offered) disks.taps.push(await openDisk(disk, wanted, places))
    } catch (error) {
      await disks.abandon(false)
      throw error
    }
    return disks
  }

  /** As a journal has them. */
  owned (): OwnedDisk[] {
    return this.taps.map(({ offered: { name, epoch }, tap }) => ({ name, epoch, ...partOf(tap) }))
  }

  /** Writes go on here from now on. */
  own (): void {
    for (const { tap, release } of this.taps) {
      release()
      tap.release()
    }
  }

  /** Of what has arrived; `digests` are those of both sides, null when they were not compared. */
  report (
    digests: readonly string[] | null, { contentBytes, wireBytes, zeroBytes }: ReturnType<NativeSession['stats']>
  ): Pick<DestinationReport, 'equal' | 'digest' | 'disks' | 'bytes'> {
    const disk = this.taps.reduce((sum, { offered }) => sum + offered.size, 0)
    return {
      bytes: { disk, sent: contentBytes, wire: wireBytes, zero: zeroBytes },
      equal: digests === null ? null : true,
      digest: digests === null ? null : sumDigests(digests),
      disks: this.taps.map(({ offered: { name, size }, tap }, index) => (
        { name, destination: tap.source, bytes: size, capacity: tap.capacity, digest: digests?.[index] ?? null }))
    }
  }

  /** Gives up what never arrived. What was copied is kept, unless `remove`: then files that were
   * made for it are deleted. */
  async abandon (remove: boolean): Promise<void> {
    for (const { tap, wanted, created, sizeBefore, release } of this.taps) {
      release()
      if (tap === wanted.destination) {
        restoreSize(tap, sizeBefore)
        continue
      }
      await tap.close()
      if (remove && created) await unlink(tap.source).catch(() => {})
    }
  }
}

async function openDisk (
  offered: OfferedDisk, all: readonly WantedDisk[], places: readonly Place[]
): Promise<DestinationTap> {
  const wanted = all.find(({ name }) => name === offered.name)
  if (wanted === undefined) throw new BlockferryError('NOT_FOUND', `no disk ${offered.name} is expected here`)
  checkBlockSize('blockSize', offered.blockSize)
  if (offered.size === 0 || offered.size % 512 !== 0) {
    throw new BlockferryError('BAD_SIZE', `${offered.name}: ${offered.size} bytes is no positive multiple of 512`)
  }
  const { destination: where, name, direct, force, allocate, holes } = wanted
  if (offered.size / offered.blockSize > kMaxBlocks) {
    throw new BlockferryError('INVALID', `${offered.name}: too many blocks, use a larger block size`)
  }
  if (typeof where !== 'string' && where.state !== 'refusing') {
    throw new BlockferryError('REFUSED', `${name} is owned here already`)
  }
  if (!force) await checkElsewhere(places, where)
  // It may be where the disk came from: its fence goes when that is known, and nobody can write there.
  if (typeof where === 'string') await native.unfenceDmMoved(where)
  const openAs = written.has(wanted) ? openRawTap : openTap
  const tap = typeof where === 'string'
    ? await openAs({ source: where, name, direct, createSize: offered.size, force, holes })
    : where
  const release = tap.useForMigration()
  tap.refuse()
  const created = typeof where === 'string' && tap.native.describe().created
  const inode = await inodeOf(tap)
  if (created) made.set(wanted, inode)
  const separate = force || made.get(wanted) === inode
  const opened = { offered, tap, wanted, created, separate, release, sizeBefore: tap.size }
  try {
    makeFit(opened)
    if (allocate) await tap.allocate()
  } catch (error) {
    const disks = new DestinationDisks()
    disks.taps.push(opened)
    await disks.abandon(true)
    throw error
  }
  written.add(wanted)
  return opened
}

/** Of a file or a device; that of a file is not another's while the file is there. */
async function inodeOf (tap: Tap): Promise<string> {
  const { descriptor } = tap.native.describe()
  if (descriptor < 0) return ''
  const { dev, ino, birthtimeNs } = await stat(`/proc/self/fd/${descriptor}`, { bigint: true })
  return `${dev} ${ino} ${birthtimeNs}`
}

/** What both hosts can write, or what is there already, would be overwritten with what was read before.
 * `places`: of all disks that are to move. */
async function checkElsewhere (places: readonly Place[], where: Tap | string): Promise<void> {
  const [path, ours] = typeof where === 'string'
    ? [where, await placesOf(where)]
    : [where.source, await where.places()]
  const common = commonPlace(ours, places)
  if (common === null) return
  throw new BlockferryError('REFUSED',
    `${path} here is the disk itself that is to move (${common}): shared storage does not have to be copied`)
}

/** The disk is as large here as there, however large what it comes to is. */
function makeFit ({ tap, offered: { name, size } }: DestinationTap): void {
  if (tap.readOnly) throw new BlockferryError('READ_ONLY', `${tap.source} is open for reading only`)
  if (tap.capacity < size) {
    throw new BlockferryError('TOO_SMALL', `${tap.source} has ${tap.capacity} bytes, ${name} needs ${size}`)
  }
  try {
    tap.setSize(size)
  } catch (error) {
    const { code, message } = toBlockferryError(error)
    throw new BlockferryError(code, `${message}: serve it with the size that comes (--size ${name}=${size})`)
  }
}

/** Whoever came to know the new one meanwhile relies on that. */
function restoreSize (tap: Tap, bytes: number): void {
  try {
    tap.setSize(bytes)
  } catch {}
}
