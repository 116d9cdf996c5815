// What taps in the kernel there are on this host: those of running processes, and what killed ones
// have left.
import { readlink, stat } from 'node:fs/promises'
import { basename } from 'node:path'

import { BlockferryError, toBlockferryError } from '../base/errors.js'
import type { NativeDmLeft } from '../native/types.js'
import { native } from '../native/addon.js'
import { deviceNumber } from '../base/device-number.js'
import { diskNumber } from './limit/disk-number.js'
import { restoreLeft } from './limit/restorer.js'

export type LeftoverTap = LeftoverDmTap | LeftoverBpfTap

/** What a 'dm' tap has put under a device. */
export interface LeftoverDmTap {
  tap: 'dm'
  /** The device's name in device-mapper. */
  device: string
  /** `tapped`: it works, through dm-era; the next openTap() takes that out by itself, as
   * removeLeftoverTap() does. `fenced`: its reads and writes fail, or wait, as the destination of a migration
   * owns the disk, or nobody knows who does. `beside`: it has its own table, or another tool's. `alone`:
   * it is gone. */
  state: 'tapped' | 'fenced' | 'beside' | 'alone'
  /** Its I/O waits. */
  suspended: boolean
  /** The process that tapped it runs. */
  live: boolean
  /** It is fenced, and its disk is known to be another side's: receive() may take the device for a
   * migration back. */
  moved: boolean
  /** The device that holds the table that belongs back. */
  inner: string
}

/** A 'bpf' tap with a map file, which goes on without its process: until openTap() with the same map
 * file takes it over, or removeLeftoverTap() takes it away. */
export interface LeftoverBpfTap {
  tap: 'bpf'
  /** '/dev/loop0'; or, when no device has its number any more, that and what tells it from others
   * that had it before: '7:0-12'. */
  device: string
  /** Its process runs. */
  live: boolean
}

/** None where there can't be one, and for who may not ask. */
export async function leftoverTaps (): Promise<LeftoverTap[]> {
  const bpf = await Promise.all(native.pinnedTaps().map(async ({ id, inUse }) =>
    ({ tap: 'bpf' as const, device: await deviceOf(id) ?? id, live: inUse })))
  const dm = (await dmStacks()).map((stack) => ({ tap: 'dm' as const, ...stack }))
  return [...dm, ...bpf]
}

async function dmStacks (): Promise<NativeDmLeft[]> {
  try {
    return await native.listDmStacks()
  } catch (thrown) {
    const error = toBlockferryError(thrown)
    if (error.code === 'UNSUPPORTED' || error.code === 'NO_PERMISSION') return []
    throw error
  }
}

async function deviceOf (id: string): Promise<string | null> {
  const target = await readlink(`/sys/dev/block/${id.split('-')[0]}`).catch(() => null)
  return target === null ? null : `/dev/${basename(target).replaceAll('!', '/')}`
}

/** Takes out what a killed process has left at a device: a path, a name in device-mapper, or as
 * leftoverTaps() calls it. A device gets its own table back; what the map file of a 'bpf' tap remembers is
 * forgotten; the device's writers run free. False when there is nothing. Errors: BUSY, the process lives; REFUSED, the
 * device is fenced: then `owned` has to say that the disk is owned here, as recover() does. */
export async function removeLeftoverTap (
  device: string, { owned = false }: { owned?: boolean } = {}
): Promise<boolean> {
  if (typeof device !== 'string' || device === '') {
    throw new BlockferryError('INVALID', 'device: must be a path or a name')
  }
  try {
    const hadDm = (await dmStacks()).length > 0 && await native.cleanDmStack(device, owned)
    const hadPins = await removePins(device)
    return await liftLimits(device) || hadPins || hadDm
  } catch (thrown) {
    throw toBlockferryError(thrown)
  }
}

/** Of a device that is fenced: recover() says that its disk has moved, so a migration back may come to it,
 * which needs no more than receive() with the device as a destination. One without a fence stays as it is.
 * Errors: BUSY, the process lives that fenced it. */
export async function markMoved (device: string): Promise<void> {
  if (typeof device !== 'string' || device === '') throw new BlockferryError('INVALID', 'device: must be a path')
  await native.markDmMoved(device).catch((error: unknown) => { throw toBlockferryError(error) })
}

async function removePins (device: string): Promise<boolean> {
  const file = await stat(device).catch(() => null)
  const number = file?.isBlockDevice() ? deviceNumber(file.rdev) : null
  const pins = native.pinnedTaps().filter(({ id }) => id === device || id.split('-')[0] === number)
  for (const { id } of pins) native.removePinnedTap(id)
  return pins.length > 0
}

async function liftLimits (device: string): Promise<boolean> {
  const file = await stat(device).catch(() => null)
  return file?.isBlockDevice() === true && restoreLeft(diskNumber(device))
}
