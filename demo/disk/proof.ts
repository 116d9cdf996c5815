// Proves what the demo claims, with nothing of blockferry's in between: it reads the image files.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

import type { Writer } from './writer.js'

const kChunk = 2 ** 20

/** Compares two whole files; throws where they differ. Answers the bytes compared. */
export function compareFiles (one: string, other: string): number {
  const files = [openSync(one, 'r'), openSync(other, 'r')] as const
  const [mine, theirs] = [Buffer.alloc(kChunk), Buffer.alloc(kChunk)]
  try {
    const size = fstatSync(files[0]).size
    if (size !== fstatSync(files[1]).size) throw new Error('the sizes differ')
    for (let at = 0; at < size; at += kChunk) {
      const length = readSync(files[0], mine, 0, kChunk, at)
      readSync(files[1], theirs, 0, kChunk, at)
      if (!mine.subarray(0, length).equals(theirs.subarray(0, length))) {
        throw new Error(`they differ between ${at} and ${at + length}`)
      }
    }
    return size
  } finally {
    for (const file of files) closeSync(file)
  }
}

/** Looks for every acknowledged record in the file; throws when one is missing. Answers how many
 * blocks were looked at. */
export function findRecords (path: string, writer: Writer): number {
  const file = openSync(path, 'r')
  let count = 0
  try {
    for (const { offset, content, number } of writer.expected()) {
      const found = Buffer.alloc(content.length)
      readSync(file, found, 0, content.length, offset)
      if (!found.equals(content)) throw new Error(`record ${number} is not there`)
      count++
    }
    return count
  } finally {
    closeSync(file)
  }
}
