// What a contender of the converge benchmark is, and the writer that it has to keep up with.

import { copyFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { areEqual } from './compare.js'
import type { Figures } from './figures.js'
import { diskUri, Writer } from './fio.js'
import type { Link } from './network.js'

/** The writer: what it writes where, and how fast. */
export interface Workload {
  readonly name: string
  readonly fio: readonly string[]
  readonly bytesPerSecond: number
}

/** One migration to do. */
export interface Move {
  readonly source: string
  readonly destination: string
  readonly folder: string
  readonly link: Link
  readonly workload: Workload
  /** Given up after this long. */
  readonly limitMs: number
  readonly budgetMs: number
}

/** What a migration came to; null where it did not end within the limit. */
export interface Outcome {
  readonly seconds: number | null
  readonly downtimeMs: number | null
  readonly wireBytes: number
  /** The delay imposed on the writer, as the migration itself counts it; null: it doesn't. */
  readonly throttleDelayMs: number | null
  /** The writer's rate while it was moved, over the rate it asked for. */
  readonly writerShare: number
  readonly reason: string | null
}

/** How long the writer writes alone before the disk is moved. */
const warmUpMs = 2000

/** A writer, and how much of its rate it reached while its disk was moved. */
export class TimedWriter {
  #writer: Writer
  #rate: number
  #bytesBefore = 0
  #moveStarted = 0
  #moveEnded: number | undefined

  /** Starts one; answers when it has written alone for a while and the move may begin. */
  static async start (socket: string, workload: Workload): Promise<TimedWriter> {
    const timed = new TimedWriter(socket, workload)
    await sleep(warmUpMs)
    timed.#bytesBefore = (await timed.#writer.soFar()).bytes
    timed.#moveStarted = performance.now()
    return timed
  }

  private constructor (socket: string, { fio, bytesPerSecond }: Workload) {
    this.#rate = bytesPerSecond
    this.#writer = new Writer(diskUri(socket), [...fio, '--iodepth=16', `--rate=${bytesPerSecond}`])
  }

  /** Freezes it, as a hypervisor pauses a machine. The move is over for it. */
  freeze (): void {
    this.#writer.freeze()
    this.#moveEnded ??= performance.now()
  }

  /** Ends it and answers its share: its rate during the move over the rate it asked for. */
  async share (): Promise<number> {
    const moveEnded = (this.#moveEnded ??= performance.now())
    const { bytes } = await this.#writer.end()
    const seconds = (moveEnded - this.#moveStarted) / 1000
    return (bytes - this.#bytesBefore) / seconds / this.#rate
  }
}

/** Prepares the disks, lets `move` do one migration, and compares what came out of it. */
export async function moveOnce (
  setting: Omit<Move, 'source' | 'destination'>,
  pristine: string,
  move: (move: Move) => Promise<Outcome>
): Promise<Figures> {
  const source = join(setting.folder, 'source')
  const destination = join(setting.folder, 'destination')
  copyFileSync(pristine, source)
  writeFileSync(destination, '')
  truncateSync(destination, statSync(source).size)
  try {
    const outcome = await move({ ...setting, source, destination })
    const isDone = outcome.downtimeMs !== null
    return {
      ...outcome,
      wireOverDisk: outcome.wireBytes / statSync(source).size,
      equal: isDone ? await areEqual(source, destination) : null
    }
  } finally {
    for (const path of [source, destination]) rmSync(path, { force: true })
  }
}
