// Disk images in a temporary directory of their own, and whole-image comparison.
import { createHash } from 'node:crypto'
import { closeSync, createReadStream, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Test } from 'tap'

/** A directory that goes when the test is over. */
export function temporary (t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'blockferry-test-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Repeatable bytes that do not compress away. */
export function noise (seed: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  let state = (seed * 2654435761 + 1) >>> 0
  for (let at = 0; at + 4 <= length; at += 4) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    bytes.writeUInt32LE(state >>> 0, at)
  }
  return bytes
}

/** A sparse image with data in every second MiB (the odd ones), the rest holes. */
export function makeImage (path: string, size: number, seed = 1): string {
  const fd = openSync(path, 'w')
  ftruncateSync(fd, size)
  for (let at = 2 ** 20; at < size; at += 2 ** 21) {
    writeSync(fd, noise(seed + at / 2 ** 20, Math.min(2 ** 20, size - at)), 0, undefined, at)
  }
  closeSync(fd)
  return path
}

/** The SHA-256 of a whole file. */
export async function hashOf (path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return hash.digest('hex')
}
