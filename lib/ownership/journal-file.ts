// An append-only file of records, each durable before append() resolves.
//
// A record is a line: the CRC-32 of the JSON in 8 hexadecimal digits, a space, the JSON. A line
// that is not whole at the end of the file is a write that was torn by a crash: it never counted,
// and is cut off. Anywhere else it is damage.
import type { FileHandle } from 'node:fs/promises'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'

import type { ErrorCode } from '../base/errors.js'
import { BlockferryError, toBlockferryError } from '../base/errors.js'
import { native } from '../native/addon.js'

export class JournalFile<Record extends object> {
  readonly path: string
  readonly #file: FileHandle
  readonly records: readonly Record[]
  #end: number
  #last: Promise<void> = Promise.resolve()
  #failed: BlockferryError | null = null

  private constructor (path: string, file: FileHandle, records: Record[], end: number) {
    this.path = path
    this.#file = file
    this.records = records
    this.#end = end
  }

  /** Opens or makes it, for this process alone, readable by this user alone. Errors: BUSY (another
   * process has it), JOURNAL (damaged), NO_PERMISSION, NOT_FOUND (no such folder), IO_ERROR. */
  static async open<Record extends object> (path: string): Promise<JournalFile<Record>> {
    const file = await attempt(path, () => open(path, 'a+', 0o600))
    try {
      if (!native.lockFile(file.fd)) throw new BlockferryError('BUSY', `${path} is in use by another process`)
      const bytes = await attempt(path, () => file.readFile())
      const { records, last, end } = parse<Record>(path, bytes)
      await attempt(path, async () => {
        await writeAgain(file, bytes, last, end)
        await file.truncate(end)
        await file.datasync()
        await syncFolder(dirname(path))
      })
      return new JournalFile(path, file, records, end)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** Resolves when the record is on stable storage. After a failure nothing more is written. It
   * rejects with the owner `unknown` when nobody can tell whether the record is there. */
  async append (record: Record): Promise<void> {
    const turn = this.#last.then(() => this.#write(record))
    this.#last = turn.catch(() => {})
    await turn
  }

  /** The record must not be found later, whole or in part. */
  async #takeBack (error: BlockferryError): Promise<BlockferryError> {
    try {
      await this.#file.truncate(this.#end)
      await this.#file.datasync()
      return error
    } catch {
      const { code, message, errno } = error
      return new BlockferryError(code, message, { errno, cause: error, owner: 'unknown' })
    }
  }

  /** Waits for what is being written. Idempotent. */
  async close (): Promise<void> {
    await this.#last
    await this.#file.close()
  }

  async #write (record: Record): Promise<void> {
    if (this.#failed !== null) throw this.#failed
    const line = Buffer.from(lineOf(record))
    try {
      await attempt(this.path, async () => {
        await this.#file.appendFile(line)
        await this.#file.datasync()
      })
    } catch (error) {
      this.#failed = await this.#takeBack(error as BlockferryError)
      throw this.#failed
    }
    this.#end += line.length
    ;(this.records as Record[]).push(record)
  }
}

/** For tests and tools: the line of a record. */
export function lineOf (record: object): string {
  const json = JSON.stringify(record)
  return `${checkOf(json)} ${json}\n`
}

function checkOf (json: string): string {
  return crc32(json).toString(16).padStart(8, '0')
}

const kNewline = 10

/** The last record may be in the page cache alone, clean: its page was lost, and the kernel has told somebody who
 * is no more. The same bytes again: no crash can tear them. */
async function writeAgain (file: FileHandle, bytes: Buffer, from: number, to: number): Promise<void> {
  const again = await open(`/proc/self/fd/${file.fd}`, 'r+') // what is open to append can't write elsewhere
  try {
    await again.write(bytes, from, to - from, from)
    await again.datasync()
  } finally {
    await again.close()
  }
}

/** `last`: where the last record begins. */
function parse<Record> (path: string, bytes: Buffer): { records: Record[], last: number, end: number } {
  const records: Record[] = []
  let last = 0
  let end = 0
  while (end < bytes.length) {
    const newline = bytes.indexOf(kNewline, end)
    const record = newline < 0 ? null : read<Record>(bytes.toString('utf8', end, newline))
    if (record === null) {
      if (newline < 0 || newline === bytes.length - 1) break
      throw new BlockferryError('JOURNAL', `${path} is damaged at byte ${end}, or no journal of blockferry's`)
    }
    records.push(record)
    last = end
    end = newline + 1
  }
  return { records, last, end }
}

function read<Record> (line: string): Record | null {
  const [check, json] = [line.slice(0, 8), line.slice(9)]
  if (line[8] !== ' ' || checkOf(json) !== check) return null
  return JSON.parse(json) as Record
}

/** A file that was just made is there after a crash only when its folder was written, too. */
async function syncFolder (path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** What a file can say; that a connection is lost is none of it, whatever number a network's file system has. */
const kOfFiles: readonly ErrorCode[] = [
  'NOT_FOUND', 'IS_DIRECTORY', 'READ_ONLY', 'NO_PERMISSION', 'NO_SPACE', 'NO_MEMORY', 'INVALID'
]

async function attempt<T> (path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    const { code, message, errno } = toBlockferryError(cause)
    const ofFile = kOfFiles.includes(code) ? code : 'IO_ERROR'
    throw new BlockferryError(ofFile, `journal ${path}: ${message}`, { errno, cause })
  }
}
