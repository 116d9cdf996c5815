// A move while the domain runs, by `xl migrate` and `xl migrate-receive`, each with a keeper beside it
// (see source-keeper.ts and destination-keeper.ts).
import { fileURLToPath } from 'node:url'

import { KeptProgram } from './kept-program.js'
import { Program } from './program.js'
import type { DestinationTransfer, SourceTransfer } from './transfer.js'
import { findDomain, refuse, untilRuns, xl } from './xl.js'

const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`
const programPath = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** What xl calls a domain that it has handed over, and one that it has not let run yet. */
const away = (name: string) => `${name}--migratedaway`
const incoming = (name: string) => `${name}--incoming`

export class LiveSource implements SourceTransfer {
  readonly #name: string
  readonly #kept: KeptProgram
  #failed: (words: string) => void = () => {}
  readonly failed = new Promise<string>((resolve) => { this.#failed = resolve })

  constructor (name: string, kept = new KeptProgram('source', name)) {
    this.#name = name
    this.#kept = kept
  }

  /** One that a process left that has ended; null when there is none. */
  static async left (name: string): Promise<LiveSource | null> {
    const kept = await KeptProgram.left('source', name, away(name))
    return kept === null ? null : new LiveSource(name, kept)
  }

  async start (socket: string): Promise<void> {
    const way = [process.execPath, programPath('source-keeper.js'), socket, this.#kept.control]
    const program = new Program('xl', ['migrate', '-s', '', this.#name, `exec ${way.map(quoted).join(' ')}`])
    void program.ended.then(() => this.#failed(program.words()))
    await this.#kept.start(program, socket)
  }

  async sent (): Promise<number> {
    return await this.#kept.count()
  }

  async handOver (): Promise<void> {
    const state = await this.#kept.until('handed-over')
    if (state !== 'handed-over') throw refuse(`xl migrate: ${await this.#kept.words(state)}`)
  }

  async undo (): Promise<void> {
    await this.#kept.tell('undo', 'undone')
    await this.#kept.ended()
    await this.#takeBackAway()
    await untilRuns(this.#name)
  }

  /** xl is gone in the middle. Its later versions can resume a domain. */
  async #takeBackAway (): Promise<void> {
    if (await findDomain(away(this.#name)) === null) return
    await xl('rename', away(this.#name), this.#name)
    await xl('resume', this.#name).catch((error: unknown) => {
      throw refuse(`${this.#name} is suspended, xl is gone, and this version can't resume it`, error)
    })
  }

  async release (): Promise<void> {
    await this.#kept.tell('moved', 'moved')
    await this.#kept.ended()
    if (await findDomain(away(this.#name)) !== null) await xl('destroy', away(this.#name))
  }

  close (): void {
    this.#kept.close()
  }
}

export class LiveDestination implements DestinationTransfer {
  readonly #name: string
  readonly #kept: KeptProgram

  constructor (name: string, kept = new KeptProgram('destination', name)) {
    this.#name = name
    this.#kept = kept
  }

  /** One that a process left that has ended; null when there is none. */
  static async left (name: string): Promise<LiveDestination | null> {
    const kept = await KeptProgram.left('destination', name, incoming(name))
    return kept === null ? null : new LiveDestination(name, kept)
  }

  async start (socket: string): Promise<void> {
    const way = [programPath('destination-keeper.js'), socket, this.#kept.control]
    await this.#kept.start(new Program(process.execPath, way), socket)
  }

  async untilHere (): Promise<void> {
    const state = await this.#kept.until('arrived')
    if (state !== 'arrived') throw refuse(`xl migrate-receive: ${await this.#kept.words(state)}`)
  }

  /** Without its keeper xl removes what it has made. */
  async untilLost (): Promise<void> {
    await this.#kept.gone()
  }

  async go (): Promise<void> {
    const state = await this.#kept.tell('go', 'running')
    if (state === 'running') return
    // xl is gone, and the machine waits.
    if (await findDomain(incoming(this.#name)) === null) throw refuse(`it is not here: ${await this.#kept.words(state)}`)
    await xl('rename', incoming(this.#name), this.#name)
    await xl('unpause', this.#name)
  }

  async undo (): Promise<void> {
    const state = await this.#kept.tell('undo', 'undone')
    if (state !== 'running' && await findDomain(incoming(this.#name)) !== null) {
      await xl('destroy', incoming(this.#name))
    }
  }

  close (): void {
    this.#kept.close()
  }
}
