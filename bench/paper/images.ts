// What can be said of the disks when both guests have ended.
//
// The source's file is as it was at the pause; the destination's guest has gone on writing to its
// own, and its QEMU has noted where. Everywhere else both must hold the same.

import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { run, tryRun } from '../../testbed/support/command.js'
import type { Extent } from './watch.js'

const blockBytes = 4096
const partBytes = 2 ** 20

/** How many blocks of 4 KiB of two files of the same size differ outside these extents. */
export function differingBlocks (one: string, other: string, except: readonly Extent[]): number {
  const files = [openSync(one, 'r'), openSync(other, 'r')] as const
  const [left, right] = [Buffer.allocUnsafe(partBytes), Buffer.allocUnsafe(partBytes)]
  const isExcepted = (at: number) =>
    except.some(({ offset, length }) => at >= offset && at < offset + length)
  let count = 0
  try {
    for (let offset = 0; ; offset += partBytes) {
      const got = readSync(files[0], left, 0, partBytes, offset)
      if (readSync(files[1], right, 0, partBytes, offset) !== got) throw new Error('sizes differ')
      if (got === 0) return count
      const places = differences(left.subarray(0, got), right.subarray(0, got))
      count += places.filter((at) => !isExcepted(offset + at)).length
    }
  } finally {
    for (const file of files) closeSync(file)
  }
}

/** Where the blocks begin that differ. */
function differences (left: Buffer, right: Buffer): number[] {
  if (left.equals(right)) return []
  const count = Math.ceil(left.length / blockBytes)
  const starts = Array.from({ length: count }, (_, i) => i * blockBytes)
  const block = (buffer: Buffer, at: number) => buffer.subarray(at, at + blockBytes)
  return starts.filter((at) => !block(left, at).equals(block(right, at)))
}

/** Whether a file system is whole once its journal was replayed. The image isn't changed. */
export async function isWhole (image: string): Promise<boolean> {
  const folder = mkdtempSync(join(dirname(image), 'check-'))
  try {
    const copy = join(folder, 'image')
    await run('cp', '--sparse=always', image, copy)
    // It answers 1 for what it has repaired: the second call is the verdict.
    await tryRun('e2fsck', '-y', '-E', 'journal_only', copy)
    return (await tryRun('e2fsck', '-f', '-n', copy)) !== undefined
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
