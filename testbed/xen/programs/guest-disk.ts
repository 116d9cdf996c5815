// In dom0: the guest, what its disks hold, and commands.

import { strict as assert } from 'node:assert'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Tap } from '../../../lib/index.js'
import type { Backend } from './backend.js'

export const kBlock = 4096
const kGuest = 'web'

export function run (command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8' }).trim()
}

export const dmsetup = (...args: string[]): string => run('dmsetup', '--noudevsync', ...args)

export const guest = {
  pause: (): void => { run('xl', 'pause', kGuest) },
  resume: (): void => { run('xl', 'unpause', kGuest) }
}

export interface Work {
  readonly writes: number
  /** Default: 0. */
  readonly discards?: number
}

/** Until its writers have done as much again. */
export async function writersDid (backend: Backend, { writes, discards = 0 }: Work): Promise<void> {
  const before = backend.requests
  const isDone = () => {
    const now = backend.requests
    return now.writes >= before.writes + writes && now.discards >= before.discards + discards
  }
  while (!isDone()) await sleep(50)
}

/** Past the page cache, which blkback's writes pass by. */
export function contentOf (device: string): Buffer {
  run('blockdev', '--flushbufs', device)
  return readFileSync(device)
}

export function differing (one: Buffer, other: Buffer): number[] {
  assert.equal(one.length, other.length)
  const blocks = Array.from({ length: one.length / kBlock }, (_value, block) => block)
  return blocks.filter((block) => {
    const [from, to] = [block * kBlock, (block + 1) * kBlock]
    return !one.subarray(from, to).equals(other.subarray(from, to))
  })
}

/** The blocks that a tap reports. */
export function marked (tap: Tap): Set<number> {
  const blocks = new Set<number>()
  for (const { offset, length } of tap.round()) {
    for (let at = offset; at < offset + length; at += kBlock) blocks.add(at / kBlock)
  }
  return blocks
}

/** The program's arguments: a kind of tap, and devices. */
export function theArguments (): { kind: 'bpf' | 'dm', devices: string[] } {
  const [kind, ...devices] = process.argv.slice(2)
  assert(kind === 'bpf' || kind === 'dm')
  return { kind, devices }
}
