// Which taps a disk can have, and which of them `auto` takes. Nothing is attached or changed.
import { stat } from 'node:fs/promises'

import type { ErrorCode } from '../errors.js'
import { BlockferryError, toBlockferryError } from '../errors.js'
import { native } from '../native.js'
import type { TapKind } from '../tap.js'

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
  /** What `tap: 'auto'` takes: null when no tap can be attached to the disk as it is. */
  auto: TapKind | null
}

/** Errors: NOT_FOUND and the like, when there is no such disk. */
export async function probe (source: string): Promise<Probe> {
  const there = await stat(source).catch((error: NodeJS.ErrnoException) => {
    const isMissing = error.code === 'ENOENT' || error.code === 'ENOTDIR'
    throw new BlockferryError(isMissing ? 'NOT_FOUND' : 'NO_PERMISSION', error.message, { cause: error })
  })
  const taps = [await probeBpf(source), nbd(there.isFile() || there.isBlockDevice())]
  return { source, taps, auto: taps.find(({ possible, live }) => possible && live)?.tap ?? null }
}

async function probeBpf (source: string): Promise<TapAnswer> {
  const answer = { tap: 'bpf' as const, live: true }
  try {
    await native.checkBpf(source)
  } catch (thrown) {
    const { code, message } = toBlockferryError(thrown)
    return { ...answer, possible: false, reason: message, code }
  }
  const reason = 'attaches to the running device; the writers are stopped by the machine\'s pause()'
  return { ...answer, possible: true, reason, code: null }
}

function nbd (possible: boolean): TapAnswer {
  const reason = possible
    ? 'for a machine that is started on it (blockferry serve)'
    : 'neither a file nor a block device'
  return { tap: 'nbd', possible, live: false, reason, code: possible ? null : 'UNSUPPORTED' }
}

/** For `tap: 'auto'`. UNSUPPORTED, or what the only obstacle is called, when there is none. */
export async function chooseTap (source: string): Promise<TapKind> {
  const { auto, taps } = await probe(source)
  if (auto !== null) return auto
  const reasons = taps.filter(({ live, possible }) => live && !possible)
  const text = reasons.map(({ tap, reason }) => `${tap}: ${reason}`).join('; ')
  throw new BlockferryError(
    reasons[0]?.code ?? 'UNSUPPORTED', `no tap can be attached to ${source} as it is (${text})`)
}
