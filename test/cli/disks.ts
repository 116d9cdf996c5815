// Disk images for the tests, and clients that write to them over NBD.
import type { ChildProcess } from 'node:child_process'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'

import type { Teardown } from './cli-process.js'

export const kMiB = 2 ** 20

/** An image with content in its middle half and holes around it. */
export function makeImage (path: string, mebibytes: number): void {
  const file = openSync(path, 'w')
  ftruncateSync(file, mebibytes * kMiB)
  for (let at = mebibytes / 4; at < mebibytes * 3 / 4; at++) {
    writeSync(file, randomBytes(kMiB), 0, kMiB, at * kMiB)
  }
  closeSync(file)
}

export function areEqual (one: string, other: string): boolean {
  return readFileSync(one).equals(readFileSync(other))
}

export function nbdUri (name: string, socket: string): string {
  return `nbd+unix:///${name}?socket=${socket}`
}

/** Runs qemu-io commands; true when all succeeded. */
export function qemuIo (uri: string, ...commands: string[]): boolean {
  const args = ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri]
  const { status, stdout } = spawnSync('qemu-io', args, { encoding: 'utf8' })
  return status === 0 && !/failed|error/i.test(stdout)
}

/** The names of the exports at an address. */
export function exportsAt (socket: string): string[] {
  const uri = `nbd+unix:///?socket=${socket}`
  const { exports } = JSON.parse(execFileSync('nbdinfo', ['--list', '--json', uri], { encoding: 'utf8' }))
  return exports.map((entry: any) => entry['export-name'])
}

/** Writes 4 KiB blocks all over the disk, one after the other, through qemu-io, until a write
 * fails or it is stopped. Remembers what each block must hold. */
export class Writer {
  /** Block number to the byte that fills it: acknowledged writes. */
  readonly acknowledged = new Map<number, number>()
  last: { block: number, byte: number } | null = null
  readonly #child: ChildProcess
  readonly #blocks: number
  readonly #ended: Promise<unknown>
  #sent: { block: number, byte: number } | null = null
  #count = 0
  #stopping = false
  #waiting: Array<{ count: number, resolve: () => void }> = []
  /** It ended because a write was refused. */
  refused = false

  constructor (t: Teardown, uri: string, diskBytes: number) {
    this.#blocks = diskBytes / 4096
    this.#child = spawn('qemu-io', ['-f', 'raw', uri], { stdio: ['pipe', 'pipe', 'ignore'] })
    this.#ended = once(this.#child, 'close')
    this.#child.stdin!.on('error', () => {})
    let text = ''
    this.#child.stdout!.setEncoding('utf8').on('data', (more) => {
      text += more
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        this.#onLine(text.slice(0, end))
        text = text.slice(end + 1)
      }
    })
    t.teardown(() => this.stop())
    this.#write()
  }

  /** Waits for so many more acknowledged writes. */
  async more (writes: number): Promise<void> {
    if (this.refused) return
    await new Promise<void>((resolve) => this.#waiting.push({ count: this.#count + writes, resolve }))
  }

  async stop (): Promise<void> {
    this.#stopping = true
    this.#child.stdin!.end('quit\n')
    await this.#ended
  }

  /** Blocks that do not hold in the file what was last written to them and acknowledged. */
  lost (path: string): number[] {
    const image = readFileSync(path)
    return [...this.acknowledged].filter(([block, byte]) => {
      const content = image.subarray(block * 4096, block * 4096 + 4096)
      return !content.equals(Buffer.alloc(4096, byte))
    }).map(([block]) => block)
  }

  #write (): void {
    const block = (this.#count * 7919) % this.#blocks
    const byte = this.#count % 255 + 1
    this.#sent = { block, byte }
    this.#child.stdin!.write(`write -P ${byte} ${block * 4096} 4096\n`)
  }

  #onLine (line: string): void {
    if (/failed|error/i.test(line)) {
      this.refused = true
      this.#answer(Infinity)
    }
    if (!/wrote 4096\/4096/.test(line) || this.#sent === null) return
    this.last = this.#sent
    this.acknowledged.set(this.last.block, this.last.byte)
    this.#answer(++this.#count)
    if (!this.#stopping) this.#write()
  }

  #answer (count: number): void {
    this.#waiting = this.#waiting.filter((waiting) => {
      if (count >= waiting.count) waiting.resolve()
      return count < waiting.count
    })
  }
}
