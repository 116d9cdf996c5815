// Which taps a disk can have, and which of them `auto` takes. Nothing is attached or changed.
import { stat } from 'node:fs/promises'

import type { ErrorCode } from '../base/errors.js'
import { BlockferryError, toBlockferryError } from '../base/errors.js'
import { native } from '../native/addon.js'
import type { TapKind } from './options.js'
import { WriterLimit } from './limit/writer-limit.js'

export interface TapAnswer {
  tap: TapKind
  /** It can be had here. */
  possible: boolean
  /** It can be attached while the disk is in use. */
  live: boolean
  /** What it takes; or why it can't be had. */
  reason: string
  /** The error that opening it would end with; null if none is known of. */
  code: ErrorCode | null
}

export interface Probe {
  source: string
  taps: TapAnswer[]
  /** Whether writers that a tap in the kernel watches can be slowed, and by what, or why not. */
  throttle: { possible: boolean, reason: string }
  /** What `tap: 'auto'` takes in a migration of a machine that can be paused: null when no tap can be
   * attached to the disk as it is. Without such a machine it is 'dm' or nothing. */
  auto: TapKind | null
}

/** Errors: NOT_FOUND and the like, when there is no such disk. */
export async function probe (source: string): Promise<Probe> {
  const there = await stat(source).catch((error: NodeJS.ErrnoException) => {
    const isMissing = error.code === 'ENOENT' || error.code === 'ENOTDIR'
    throw new BlockferryError(isMissing ? 'NOT_FOUND' : 'NO_PERMISSION', error.message, { cause: error })
  })
  const taps = [await probeBpf(source), await probeDm(source), nbd(there.isFile() || there.isBlockDevice())]
  const auto = taps.find(({ possible, live }) => possible && live)?.tap ?? null
  return { source, taps, throttle: await probeThrottle(source, there.isBlockDevice()), auto }
}

async function probeThrottle (source: string, isDevice: boolean): Promise<Probe['throttle']> {
  if (!isDevice) return { possible: false, reason: 'not a block device' }
  try {
    const { names } = await WriterLimit.find(source)
    return { possible: true, reason: `by the cgroup ${names.join(', ')}` }
  } catch (thrown) {
    const { message } = toBlockferryError(thrown)
    return await native.checkDmDelay(source).then(
      () => ({ possible: true, reason: `by the dm tap, with dm-delay (${message})` }),
      () => ({ possible: false, reason: message }))
  }
}

async function probeBpf (source: string): Promise<TapAnswer> {
  const reason = 'attaches to the running device; the writers are stopped by the machine\'s pause()'
  return await answerOf('bpf', native.checkBpf(source), reason)
}

async function probeDm (source: string): Promise<TapAnswer> {
  const reason = 'goes under the running device, and holds the writers itself'
  return await answerOf('dm', native.checkDm(source), reason)
}

async function answerOf (tap: TapKind, checked: Promise<void>, reason: string): Promise<TapAnswer> {
  try {
    await checked
    return { tap, live: true, possible: true, reason, code: null }
  } catch (thrown) {
    const { code, message } = toBlockferryError(thrown)
    return { tap, live: true, possible: false, reason: message, code }
  }
}

function nbd (possible: boolean): TapAnswer {
  const reason = possible
    ? 'for a machine that is started on it (blockferry serve)'
    : 'neither a file nor a block device'
  return { tap: 'nbd', possible, live: false, reason, code: possible ? null : 'UNSUPPORTED' }
}

/** For `tap: 'auto'`. Of a machine that can be paused bpf comes first: it is exact to the block, and
 * nothing is put into the disk's way. What nobody can pause the tap has to hold. UNSUPPORTED, or what
 * the only obstacle is called, when there is none. */
export async function chooseTap (source: string, canPause: boolean): Promise<TapKind> {
  const { taps } = await probe(source)
  const candidates = taps.filter(({ tap, live }) => live && (canPause || tap !== 'bpf'))
  const chosen = candidates.find(({ possible }) => possible)
  if (chosen !== undefined) return chosen.tap
  const text = candidates.map(({ tap, reason }) => `${tap}: ${reason}`).join('; ')
  const more = canPause ? '' : '; bpf would need a machine with a pause()'
  throw new BlockferryError(
    candidates[0]?.code ?? 'UNSUPPORTED', `no tap can be attached to ${source} as it is (${text}${more})`)
}
