// A client that writes through a tap all the time and remembers what was acknowledged.
import { readFileSync } from 'node:fs'

import { NbdClient } from '../../lib/index.js'

const kBlock = 4096

/** Each block holds its number and the version that was written last. */
function content (block: number, version: number): Buffer {
  const bytes = Buffer.alloc(kBlock, (block * 31 + version) & 0xff)
  bytes.writeUInt32LE(block, 0)
  bytes.writeUInt32LE(version, 4)
  return bytes
}

export class Writer {
  /** The last acknowledged version of each block, and one in flight that may have landed. */
  readonly acknowledged = new Map<number, number>()
  readonly #unsure = new Map<number, number>()
  writes = 0
  error: unknown = null
  #stopped = false
  #paused: Promise<void> | null = null
  #unpause: () => void = () => {}
  #running: Promise<void>
  #resting: (() => void) | null = null

  private constructor (
    readonly client: NbdClient, readonly blocks: number, gapMs: number, readonly spacing: number
  ) {
    this.#running = this.#run(gapMs)
  }

  /** Writes to `blocks` blocks of an export, from the first on, `spacing` blocks apart: one after the
   * other, some more often. */
  static async start (
    path: string, exportName: string, blocks: number, gapMs = 0, spacing = 1
  ): Promise<Writer> {
    return new Writer(await NbdClient.open({ path, exportName }), blocks, gapMs, spacing)
  }

  #place (block: number): number {
    return block * this.spacing * kBlock
  }

  async #run (gapMs: number): Promise<void> {
    try {
      for (let i = 0; !this.#stopped; i++) {
        if (this.#paused !== null) {
          this.#resting?.()
          await this.#paused
          continue
        }
        const block = i % 3 === 0 ? i % 7 : (i * 7919) % this.blocks
        const version = (this.acknowledged.get(block) ?? 0) + 1
        this.#unsure.set(block, version)
        await this.client.write(this.#place(block), content(block, version))
        this.acknowledged.set(block, version)
        this.#unsure.delete(block)
        this.writes++
        if (gapMs > 0 || i % 64 === 0) await new Promise((resolve) => setTimeout(resolve, gapMs))
      }
    } catch (error) {
      this.error = error
    }
    this.#resting?.()
  }

  /** Resolves when no write is in flight; none begins until resume(). One that rests already may be
   * paused again: a switchover that is taken back calls nobody's resume() but the user's. */
  async pause (): Promise<void> {
    if (this.#paused !== null) return
    this.#paused = new Promise((resolve) => { this.#unpause = resolve })
    const resting = new Promise<void>((resolve) => { this.#resting = resolve })
    await Promise.race([resting, this.#running])
  }

  resume (): void {
    this.#paused = null
    this.#unpause()
  }

  /** Stops and hangs up; what it met is in `error`. */
  async stop (): Promise<void> {
    this.#stopped = true
    this.resume()
    await this.#running
    await this.client.disconnect().catch(() => {})
  }

  /** Blocks whose last acknowledged version (or a later one that was in flight) is not there. */
  lostIn (image: string): number[] {
    const bytes = readFileSync(image)
    return [...this.acknowledged].filter(([block, version]) => {
      const found = bytes.subarray(this.#place(block), this.#place(block) + kBlock)
      const possible = [version, this.#unsure.get(block) ?? version]
      return !possible.some((wanted) => content(block, wanted).equals(found))
    }).map(([block]) => block)
  }
}
