// Recorded write traces: what ext4 really writes to its device.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Trace {
  description: string
  recordedWith: string
  /** Bytes. */
  blockSize: number
  diskSize: number
  /** How long the recording took, s. */
  seconds: number
  /** Block, count, block, count, … in the order issued. */
  offsetsAndCounts: number[]
}

export type TraceName = 'ext4-small-files' | 'ext4-untar' | 'ext4-zipf-fsync'

/** The compiled file is in dist/, the traces are beside the source. */
const kFolder = join(
  dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'test', 'simulator', 'traces')

export function readTrace (name: TraceName): Trace {
  return JSON.parse(readFileSync(join(kFolder, `${name}.json`), 'utf8')) as Trace
}
