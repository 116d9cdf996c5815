// The source of a trial: a disk that is served and written all the time.
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { NbdServer, openTap, type Tap } from '../../lib/index.js'
import { noise } from '../support/images.js'
import { Writer } from '../support/writer.js'

const kMiB = 2 ** 20
/** How a disk is opened. */
export interface Way { path: string, direct: boolean }

/** Of three stripes, which travel on streams of their own. */
export const kSize = 33 * kMiB
/** Where there is data, and how much at each place. */
const kPlaces = [kMiB, 17 * kMiB, 32 * kMiB]
const kPiece = kMiB * 0.75
export const kData = kPlaces.length * kPiece
/** The writer's, all over the disk. */
const kBlocks = 300
const kSpacing = 28

/** A trial's disk, with what a seed makes of it; little, or all of it. */
export function makeDisk (path: string, seed: number, isFull = false): string {
  const file = openSync(path, 'w')
  ftruncateSync(file, kSize)
  const [places, piece] = isFull ? [[0], kSize] : [kPlaces, kPiece]
  for (const [index, at] of places.entries()) {
    writeSync(file, noise(seed + index, piece), 0, piece, at)
  }
  closeSync(file)
  return path
}

/** Writes all over the disk that is served at a socket. */
export async function startWriter (socket: string, gapMs: number): Promise<Writer> {
  return await Writer.start(socket, 'web', kBlocks, gapMs, kSpacing)
}

export class WrittenDisk implements AsyncDisposable {
  readonly image: string
  readonly #folder: string
  readonly #server: NbdServer
  #end: () => Promise<void> = async () => {}

  /** `through`: by which way its image is opened; default: as it is. `gapMs`: from one write to the
   * next. */
  static async open (
    seed: number, through?: (image: string) => Promise<Way>, gapMs = 1
  ): Promise<WrittenDisk> {
    const folder = mkdtempSync(join(tmpdir(), 'blockferry-fault-'))
    const image = makeDisk(join(folder, 'source.img'), seed)
    const { path, direct } = await through?.(image) ?? { path: image, direct: false }
    const tap = await openTap({ source: path, name: 'web', direct })
    const server = new NbdServer()
    server.add(tap)
    const socket = join(folder, 'nbd.sock')
    await server.listen({ path: socket })
    const writer = await startWriter(socket, gapMs)
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

  /** To be called when nobody has its files open any more, before they go. */
  atEnd (end: () => Promise<void>): void {
    this.#end = end
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    // A writer that is held would never come back.
    this.tap.refuse()
    await this.writer.stop()
    await this.#server.close()
    await this.tap.close()
    await this.#end()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
