// What can be said of the disks when both guests have ended.
//
// The source's file is as it was at the pause; the destination's guest has gone on writing to its
// own. So the two may differ, but in no more than that guest wrote by its hypervisor's count.

import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { run, tryRun } from '../support/command.js'

const blockBytes = 4096
const partBytes = 2 ** 20

/** The number of bytes in the blocks of 4 KiB in which two files of the same size differ. */
export function differingBytes(one: string, other: string): number {
  const files = [openSync(one, 'r'), openSync(other, 'r')] as const
  const [left, right] = [Buffer.allocUnsafe(partBytes), Buffer.allocUnsafe(partBytes)]
  let blocks = 0
  try {
    for (let offset = 0; ; offset += partBytes) {
      const got = readSync(files[0], left, 0, partBytes, offset)
      if (readSync(files[1], right, 0, partBytes, offset) !== got) throw new Error('sizes differ')
      if (got === 0) return blocks * blockBytes
      blocks += differingBlocks(left.subarray(0, got), right.subarray(0, got))
    }
  } finally {
    for (const file of files) closeSync(file)
  }
}

function differingBlocks(left: Buffer, right: Buffer): number {
  if (left.equals(right)) return 0
  let count = 0
  for (let at = 0; at < left.length; at += blockBytes) {
    const isSame = left.subarray(at, at + blockBytes).equals(right.subarray(at, at + blockBytes))
    if (!isSame) count += 1
  }
  return count
}

/** Whether a file system is whole once its journal was replayed. The image isn't changed. */
export async function isWhole(image: string): Promise<boolean> {
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
