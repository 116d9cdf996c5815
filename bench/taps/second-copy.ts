// A second copy of a device, kept up to date by what a tap marks.

import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs'
import { setImmediate as others } from 'node:timers/promises'
import type { Tap } from '../../lib/index.js'

export const blockBytes = 4096
const chunkBytes = 2 ** 20
const extentsPerTurn = 2000

// Of no library that is included here.
declare const WebAssembly: { Memory: new (pages: { initial: number }) => { buffer: ArrayBuffer } }

/** Memory that starts at a page, as O_DIRECT wants it: WebAssembly's does, in pages of 64 KiB. */
function pages (): Buffer {
  return Buffer.from(new WebAssembly.Memory({ initial: chunkBytes / 2 ** 16 }).buffer)
}

/** Reads what the device holds, past the page cache. */
export class DeviceReader {
  readonly #fd: number
  readonly #buffer = pages()

  constructor (device: string) {
    this.#fd = openSync(device, constants.O_RDONLY | constants.O_DIRECT)
  }

  /** At most a chunk; the next call overwrites it. */
  read (offset: number, length: number): Buffer {
    if (readSync(this.#fd, this.#buffer, 0, length, offset) !== length) throw new Error('short read')
    return this.#buffer.subarray(0, length)
  }

  close (): void {
    closeSync(this.#fd)
  }
}

export class SecondCopy {
  readonly #tap: Tap
  readonly #reader: DeviceReader
  readonly #fd: number
  copiedBytes = 0

  constructor (tap: Tap, device: string, file: string) {
    this.#tap = tap
    this.#reader = new DeviceReader(device)
    this.#fd = openSync(file, 'w+')
  }

  /** Each extent that is marked when the pass reaches it: claimed, then read. */
  async pass (): Promise<void> {
    let extents = 0
    for (const { offset, length } of this.#tap.round(chunkBytes)) {
      writeSync(this.#fd, this.#reader.read(offset, length), 0, length, offset)
      this.copiedBytes += length
      if (++extents % extentsPerTurn === 0) await others()
    }
    await others()
  }

  /** Compares all of both, block by block: how many differ. */
  differingBlocks (): number {
    const theirs = Buffer.alloc(chunkBytes)
    let differing = 0
    for (let at = 0; at < this.#tap.size; at += chunkBytes) {
      const length = Math.min(chunkBytes, this.#tap.size - at)
      readSync(this.#fd, theirs, 0, length, at)
      differing += differences(this.#reader.read(at, length), theirs)
    }
    return differing
  }

  close (): void {
    this.#reader.close()
    closeSync(this.#fd)
  }
}

/** How many blocks of two equally long buffers are not the same. */
export function differences (one: Buffer, other: Buffer): number {
  if (one.compare(other, 0, one.length) === 0) return 0
  let count = 0
  for (let at = 0; at < one.length; at += blockBytes) {
    const end = Math.min(at + blockBytes, one.length)
    if (one.compare(other, at, end, at, end) !== 0) count += 1
  }
  return count
}
