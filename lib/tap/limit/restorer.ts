// A process of its own that puts limits back when this one ends, however it does: a machine must not
// stay slowed because we were killed. And the record by which the next tap of the disk finds what both
// left, if both were killed.
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { threadId } from 'node:worker_threads'

import { BlockferryError } from '../../base/errors.js'
import type { ProcessIdentity } from '../../base/process-identity.js'
import { isAlive, ownIdentity } from '../../base/process-identity.js'
import { kRuntimeFolder } from '../../base/runtime-folder.js'
import type { LimitLine } from './cgroup-files.js'
import { writeLines } from './cgroup-files.js'

// Waits for a word on its input. At its end without one, writes each line into its file.
const kPath = '/usr/sbin:/usr/bin:/sbin:/bin'
const kScript = `trap '' INT TERM HUP
read -r word
[ "$word" = done ] && exit
while [ $# -gt 1 ]; do printf %s "$2" > "$1"; shift 2; done
rm -f "$record"`

interface Left { process: ProcessIdentity, lines: readonly LimitLine[] }

export class Restorer {
  readonly #record: string
  readonly #process: ChildProcess

  /** `lines`: as it was before. BUSY when another tap limits the disk, or a partition of it. */
  constructor (disk: string, lines: readonly LimitLine[]) {
    this.#record = recordOf(disk)
    write(this.#record, disk, { process: ownIdentity(), lines })
    try {
      this.#process = start(this.#record, lines)
    } catch (error) {
      rmSync(this.#record, { force: true })
      throw error
    }
  }

  /** It is as it was before. */
  done (): void {
    this.#process.stdin!.end('done\n')
    rmSync(this.#record, { force: true })
  }
}

function start (record: string, lines: readonly LimitLine[]): ChildProcess {
  const words = lines.flatMap(({ file, line }) => [file, line])
  const child = spawn('/bin/sh', ['-c', kScript, 'blockferry-restore', ...words], {
    detached: true, // signals to our group are not for it
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { record, PATH: kPath }
  })
  child.on('error', () => {})
  // It could not be started: there is no limit without it.
  if (child.pid === undefined) throw new BlockferryError('IO_ERROR', 'limit the writers: /bin/sh can\'t be started')
  child.stdin.on('error', () => {})
  child.unref()
  ;(child.stdin as unknown as { unref: () => void }).unref()
  return child
}

/** Puts back what was left limited when a process and its restorer were killed. False: nothing was. */
export function restoreLeft (disk: string): boolean {
  const record = recordOf(disk)
  const left = read(record)
  if (left === null || isAlive(left.process)) return false
  for (const line of left.lines) {
    try {
      writeLines([line])
    } catch {} // its cgroup has gone, and the limit with it
  }
  rmSync(record, { force: true })
  return true
}

/** Whole, or not at all, and never over another one: two processes may come at the same time. */
function write (record: string, disk: string, left: Left): void {
  mkdirSync(dirname(record), { recursive: true, mode: 0o700 })
  const draft = `${record}.${process.pid}-${threadId}`
  writeFileSync(draft, JSON.stringify(left), { mode: 0o600 })
  try {
    linkSync(draft, record)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    throw new BlockferryError('BUSY', `another tap limits the disk ${disk}`)
  } finally {
    rmSync(draft, { force: true })
  }
}

/** null when there is none, or none of ours: of another version, say. */
function read (record: string): Left | null {
  try {
    const left = JSON.parse(readFileSync(record, 'utf8')) as Partial<Left>
    return left.process !== undefined && Array.isArray(left.lines) ? left as Left : null
  } catch {
    return null
  }
}

function recordOf (disk: string): string {
  return join(kRuntimeFolder, 'limits', `${disk}.json`)
}
