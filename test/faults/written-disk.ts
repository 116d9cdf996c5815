// The source of a trial: a disk that is served and written all the time.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { NbdServer, openTap, type Tap } from '../../lib/index.js'
import { makeImage } from '../support/images.js'
import { Writer } from '../support/writer.js'

export const kSize = 4 << 20
/** makeImage() fills every second MiB. */
export const kData = kSize / 2
const kBlocks = 300

export class WrittenDisk implements AsyncDisposable {
  readonly image: string
  readonly #folder: string
  readonly #server: NbdServer

  static async open (seed: number): Promise<WrittenDisk> {
    const folder = mkdtempSync(join(tmpdir(), 'blockferry-fault-'))
    const image = makeImage(join(folder, 'source.img'), kSize, seed)
    const tap = await openTap({ source: image, name: 'web' })
    const server = new NbdServer()
    server.add(tap)
    const socket = join(folder, 'nbd.sock')
    await server.listen({ path: socket })
    const writer = await Writer.start(socket, 'web', kBlocks, 1)
    return new WrittenDisk(folder, image, tap, server, writer)
  }

  private constructor (
    folder: string, image: string, readonly tap: Tap, server: NbdServer, readonly writer: Writer
  ) {
    this.#folder = folder
    this.image = image
    this.#server = server
  }

  /** A file beside it, which goes with it. */
  path (name: string): string {
    return join(this.#folder, name)
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    // A writer that is held would never come back.
    this.tap.refuse()
    await this.writer.stop()
    await this.#server.close()
    await this.tap.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
