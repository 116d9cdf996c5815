// A machine whose one program writes its count to random blocks: light enough for a QEMU inside
// the lab, and its disk tells whether a write was lost.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { guestFolder } from './lab-kernel.js'

export const kGuestBytes = 32 << 20

const kBlock = 4096
const kBlocks = 4096
const kFirst = 1 << 20
const kHead = 4096

/** The first sector of its disk. */
export function bootSector (folder: string): Buffer {
  const [object, linked, binary] = ['o', 'elf', 'bin'].map((end) => join(folder, `writer.${end}`)) as [string, string, string]
  execFileSync('as', ['--32', '-o', object, join(guestFolder, 'writer.S')])
  execFileSync('ld', ['-m', 'elf_i386', '-Ttext=0x7c00', '-e', '0x7c00', '-o', linked, object])
  execFileSync('objcopy', ['-O', 'binary', '-j', '.text', linked, binary])
  return readFileSync(binary)
}

/** How many it has written. */
export function countIn (disk: Buffer): number {
  return disk.readUInt32LE(kHead)
}

/** The blocks that don't hold what was written to them last, when it was stopped at any moment. */
export function lostBlocks (disk: Buffer): string[] {
  const count = countIn(disk)
  const last = lastWrites(count)
  const next = blockOf(stateAfter(count + 1))
  return Array.from(last, (expected, block) => {
    const at = kFirst + block * kBlock
    const found = disk.readUInt32LE(at)
    const isWhole = disk.subarray(at, at + kBlock).equals(Buffer.alloc(kBlock, disk.subarray(at, at + 4)))
    const isRight = isWhole && (found === expected || (block === next && found === count + 1))
    return isRight ? '' : `block ${block} holds ${found}, not ${expected}`
  }).filter((text) => text !== '')
}

function lastWrites (count: number): Uint32Array {
  const last = new Uint32Array(kBlocks)
  for (let state = 1, i = 1; i <= count; i++) {
    state = step(state)
    last[blockOf(state)] = i
  }
  return last
}

function stateAfter (count: number): number {
  let state = 1
  for (let i = 0; i < count; i++) state = step(state)
  return state
}

const step = (state: number): number => (Math.imul(state, 1664525) + 1013904223) >>> 0
const blockOf = (state: number): number => (state >>> 16) % kBlocks
