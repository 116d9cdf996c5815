// Which ranges of a disk are compared to find out whether two disks are one.
import type { ByteRange } from '../native/types.js'
import type { Tap } from '../tap/tap.js'

/** Of the scan, bytes. */
const kPiece = 256 * 1024
/** Pieces of a call: twice as many as of the one before, up to kMost. */
const kFirst = 2
const kMost = 32
const kMaxScanned = 1024
const kMaxWritten = 16

export interface ComparedRanges {
  /** Those of the scan last. */
  ranges: ByteRange[]
  scanned: number
}

/** Pieces after which a scan has seen enough. */
export function mostScanned (size: number): number {
  return Math.min(Math.ceil(size / kPiece), kMaxScanned)
}

/** `asked`: the offset of a block that is to be overwritten, null for none yet: then there is no scan.
 * `scanned`: pieces that were compared before, in as many `calls`. */
export function rangesToCompare (
  tap: Tap, blockSize: number, asked: number | null, { scanned, calls }: { scanned: number, calls: number }
): ComparedRanges {
  const { size } = tap
  const cut = (offset: number, length: number) => ({ offset, length: Math.min(length, size - offset) })
  const written = tap.native.recent().slice(0, kMaxWritten).map((offset) => cut(offset, blockSize))
  if (asked === null) return { ranges: written, scanned: 0 }
  const pieces = Math.ceil(size / kPiece)
  const count = Math.min(kFirst * 2 ** Math.min(calls, 10), kMost, mostScanned(size) - scanned)
  const step = stepOf(pieces)
  const scan = Array.from({ length: count }, (_, i) => cut((scanned + i) * step % pieces * kPiece, kPiece))
  return { ranges: [...written, cut(asked, blockSize), ...scan], scanned: count }
}

/** Visits all pieces, each but once, and is soon everywhere: near the golden ratio of them. */
function stepOf (pieces: number): number {
  let step = Math.max(1, Math.floor(pieces * 0.618))
  while (commonDivisor(step, pieces) !== 1) step++
  return step
}

function commonDivisor (a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b)
}
