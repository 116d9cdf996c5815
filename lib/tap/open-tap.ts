// Opening a tap: the disk, and what slows its writers.
import { BlockferryError, toBlockferryError } from '../base/errors.js'
import { native } from '../native/addon.js'
import type { NativeTap } from '../native/types.js'
import { WriteDelay } from './limit/write-delay.js'
import { WriterLimit } from './limit/writer-limit.js'
import { nativeOptions } from './native-options.js'
import type { TapOptions } from './options.js'
import { Tap } from './tap.js'

/** Opens a tap on a disk. Errors: NOT_FOUND, IS_DIRECTORY, BAD_SIZE (not a positive multiple of
 * 512), TOO_SMALL (for `size`), BUSY (the disk, or the map file), READ_ONLY, NO_PERMISSION, UNSUPPORTED
 * (no file, no device; an image in another format; no direct I/O; a kernel or a device that the
 * tap can't be attached to), NO_SPACE for the map file, REFUSED when what lies there is none, or for a device
 * that an earlier 'dm' tap has fenced. */
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
