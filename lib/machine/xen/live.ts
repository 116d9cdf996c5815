// A move while the domain runs, by `xl migrate` and `xl migrate-receive`, each with a keeper beside it
// (see source-keeper.ts and destination-keeper.ts).
import { fileURLToPath } from 'node:url'

import { controlPath, KeeperClient } from './keeper-client.js'
import type { KeeperState } from './keeper-state.js'
import { Program } from './program.js'
import type { Arrival, Departure } from './transfer.js'
import { findDomain, refuse, untilRuns, xl } from './xl.js'

const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`
const programPath = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** What xl calls a domain that it has handed over, and one that it has not let run yet. */
const away = (name: string) => `${name}--migratedaway`
const incoming = (name: string) => `${name}--incoming`

export class LiveDeparture implements Departure {
  readonly #name: string
  #xl: Program | null = null
  #keeper: KeeperClient | null = null
  #started: Promise<void> = Promise.resolve()
  #failed: (words: string) => void = () => {}
  readonly failed = new Promise<string>((resolve) => { this.#failed = resolve })

  constructor (name: string, keeper: KeeperClient | null = null) {
    this.#name = name
    this.#keeper = keeper
  }

  /** One that a process left that has ended; null when there is none. */
  static async left (name: string): Promise<LiveDeparture | null> {
    const keeper = await KeeperClient.find(controlPath('source', name))
    const isThere = keeper !== null || await findDomain(away(name)) !== null
    return isThere ? new LiveDeparture(name, keeper) : null
  }

  async start (socket: string): Promise<void> {
    this.#started = this.#start(socket)
    await this.#started
  }

  async #start (socket: string): Promise<void> {
    const control = controlPath('source', this.#name)
    const way = [process.execPath, programPath('source-keeper.js'), socket, control]
    const program = this.#xl = new Program('xl', ['migrate', '-s', '', this.#name, `exec ${way.map(quoted).join(' ')}`])
    void program.ended.then(() => this.#failed(program.words()))
    try {
      this.#keeper = await KeeperClient.wait(control, socket, () => program.isOver)
    } catch (error) {
      throw refuse(program.words(), error)
    }
  }

  async sent (): Promise<number> {
    return await this.#keeper?.count() ?? 0
  }

  async handOver (): Promise<void> {
    const state = await this.#keeper!.until('handed-over')
    if (state === 'handed-over') return
    await this.#xl?.ended
    throw refuse(`xl migrate: ${this.#xl?.words() ?? state}`)
  }

  async undo (): Promise<void> {
    await this.#started.catch(() => {}) // it did not begin: nothing is to be undone
    this.#keeper?.ask('undo')
    await this.#keeper?.gone()
    await this.#xl?.ended
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
    this.#keeper?.ask('moved')
    await this.#keeper?.gone()
    await this.#xl?.ended
    if (await findDomain(away(this.#name)) !== null) await xl('destroy', away(this.#name))
  }

  close (): void {
    this.#keeper?.close()
    this.#xl?.close()
  }
}

export class LiveArrival implements Arrival {
  readonly #name: string
  #program: Program | null = null
  #keeper: KeeperClient | null
  #started: Promise<void> = Promise.resolve()

  constructor (name: string, keeper: KeeperClient | null = null) {
    this.#name = name
    this.#keeper = keeper
  }

  /** One that a process left that has ended; null when there is none. */
  static async left (name: string): Promise<LiveArrival | null> {
    const keeper = await KeeperClient.find(controlPath('destination', name))
    const isThere = keeper !== null || await findDomain(incoming(name)) !== null
    return isThere ? new LiveArrival(name, keeper) : null
  }

  async start (socket: string): Promise<void> {
    this.#started = this.#start(socket)
    await this.#started
  }

  async #start (socket: string): Promise<void> {
    const control = controlPath('destination', this.#name)
    const program = this.#program = new Program(
      process.execPath, [programPath('destination-keeper.js'), socket, control])
    try {
      this.#keeper = await KeeperClient.wait(control, socket, () => program.isOver)
    } catch (error) {
      throw refuse(`xl migrate-receive: ${program.words()}`, error)
    }
  }

  async untilHere (): Promise<void> {
    const state = await this.#keeper!.until('arrived')
    if (state !== 'arrived') throw refuse(`xl migrate-receive: ${await this.#words(state)}`)
  }

  /** Without its keeper xl removes what it has made. */
  async untilLost (): Promise<void> {
    await this.#keeper!.gone()
  }

  async go (): Promise<void> {
    this.#keeper?.ask('go')
    const state = await this.#keeper?.until('running')
    if (state === 'running') return
    // xl is gone, and the machine waits.
    if (await findDomain(incoming(this.#name)) === null) throw refuse(`it is not here: ${await this.#words(state)}`)
    await xl('rename', incoming(this.#name), this.#name)
    await xl('unpause', this.#name)
  }

  async undo (): Promise<void> {
    await this.#started.catch(() => {}) // it did not begin: nothing is to be undone
    this.#keeper?.ask('undo')
    const state = await this.#keeper?.until('undone')
    if (state !== 'running' && await findDomain(incoming(this.#name)) !== null) {
      await xl('destroy', incoming(this.#name))
    }
  }

  close (): void {
    this.#keeper?.close()
    this.#program?.close()
  }

  async #words (state: KeeperState | undefined): Promise<string> {
    await this.#program?.ended
    return this.#program?.words() || `its keeper is ${state ?? 'gone'}`
  }
}
