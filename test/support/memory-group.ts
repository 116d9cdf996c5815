// A memory cgroup, of version 1 or 2, that a process is started in, and its limit.
import { accessSync, constants, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Start } from '../cli/cli-process.js'

interface Kind {
  /** Where groups are made. */
  folder: string
  limit: string
  usage: string
  /** What tells how often the limit was reached, and where in it. */
  reached: [file: string, pattern: RegExp]
}

const kVersion1: Omit<Kind, 'folder'> = {
  limit: 'memory.limit_in_bytes',
  usage: 'memory.usage_in_bytes',
  reached: ['memory.failcnt', /^(\d+)/]
}
const kVersion2: Omit<Kind, 'folder'> = {
  limit: 'memory.max',
  usage: 'memory.current',
  reached: ['memory.events', /^max (\d+)/m]
}

const kKind = findKind()

/** For a test's `skip`: false, or why not. */
export const kNeedsMemoryGroups = kKind === null && 'a limit on memory takes a cgroup of our own'

function findKind (): Kind | null {
  const mounts = readFileSync('/proc/mounts', 'utf8').split('\n').map((line) => line.split(' '))
  for (const [, folder = '', type, options = ''] of mounts) {
    if (type === 'cgroup' && options.split(',').includes('memory') && isOurs(folder)) {
      return { folder, ...kVersion1 }
    }
    if (type === 'cgroup2' && givesMemory(folder) && isOurs(folder)) return { folder, ...kVersion2 }
  }
  return null
}

function givesMemory (folder: string): boolean {
  return readFileSync(join(folder, 'cgroup.subtree_control'), 'utf8').split(/\s/).includes('memory')
}

function isOurs (folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}

const kLeast = 2 ** 20
let made = 0

export class MemoryGroup {
  readonly #folder = join(kKind!.folder, `blockferry-${process.pid}-${made++}`)
  /** Of the process whose memory it limits. */
  readonly start: Start = {
    by: ['sh', '-c', 'echo $$ >"$0/cgroup.procs" && exec "$@"', this.#folder]
  }

  constructor () {
    mkdirSync(this.#folder)
  }

  /** So much more can be in use than now. */
  leave (bytes: number): void {
    this.#limit(this.#usage + bytes)
  }

  /** From now on it gets no more than it has, and soon not that: the kernel kills it. */
  exhaust (): void {
    for (let share = 0.5; ; share = (share + 1) / 2) {
      try {
        return this.#limit(Math.max(share * this.#usage, kLeast))
      } catch (error) {
        // Version 1 takes no limit that cannot be kept.
        if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
      }
    }
  }

  /** How often memory had to be given back for more. */
  get reached (): number {
    const [file, pattern] = kKind!.reached
    return Number(pattern.exec(this.#read(file))![1])
  }

  /** When its process has ended. */
  remove (): void {
    rmdirSync(this.#folder)
  }

  get #usage (): number {
    return Number(this.#read(kKind!.usage))
  }

  #limit (bytes: number): void {
    writeFileSync(join(this.#folder, kKind!.limit), String(Math.round(bytes)))
  }

  #read (file: string): string {
    return readFileSync(join(this.#folder, file), 'utf8')
  }
}
