// A program of xl's with its keeper beside it, at either side of a live move: of this process, or left by
// one that has ended.
import { controlPath, KeeperClient } from './keeper-client.js'
import type { KeeperCommand, KeeperState } from './keeper-state.js'
import type { Program } from './program.js'
import { findDomain, refuse } from './xl.js'

export class KeptProgram {
  readonly #control: string
  #keeper: KeeperClient | null
  #program: Program | null = null
  #started: Promise<void> = Promise.resolve()

  constructor (role: 'source' | 'destination', domain: string, keeper: KeeperClient | null = null) {
    this.#control = controlPath(role, domain)
    this.#keeper = keeper
  }

  /** What a process left that has ended: a keeper, or what xl calls a domain under way. Null: neither. */
  static async left (
    role: 'source' | 'destination', domain: string, underWay: string
  ): Promise<KeptProgram | null> {
    const keeper = await KeeperClient.find(controlPath(role, domain))
    const isThere = keeper !== null || await findDomain(underWay) !== null
    return isThere ? new KeptProgram(role, domain, keeper) : null
  }

  /** For the program's command line: where its keeper is to listen. */
  get control (): string {
    return this.#control
  }

  /** Resolves when the keeper of this transfer listens. MACHINE when the program has ended before. */
  async start (program: Program, memorySocket: string): Promise<void> {
    this.#program = program
    this.#started = this.#wait(program, memorySocket)
    await this.#started
  }

  async #wait (program: Program, memorySocket: string): Promise<void> {
    try {
      this.#keeper = await KeeperClient.wait(this.#control, memorySocket, () => program.isOver)
    } catch (error) {
      throw refuse(program.words(), error)
    }
  }

  /** Resolves when it has this state; else with the last one that it had, null without a keeper. */
  async until (wanted: KeeperState): Promise<KeeperState | null> {
    return await this.#keeper?.until(wanted) ?? null
  }

  /** When it began to start it is told when it has; then resolves with what until() does. */
  async tell (command: KeeperCommand, wanted: KeeperState): Promise<KeeperState | null> {
    await this.#started.catch(() => {}) // it did not begin: nobody is to be told
    this.#keeper?.ask(command)
    return await this.until(wanted)
  }

  /** Resolves when the keeper is gone. */
  async gone (): Promise<void> {
    await this.#keeper?.gone()
  }

  /** Resolves when the program has ended, if it is this process's. */
  async ended (): Promise<void> {
    await this.#program?.ended
  }

  /** Bytes of memory that went through. */
  async count (): Promise<number> {
    return await this.#keeper?.count() ?? 0
  }

  /** What the program said last, once it has ended; else what its keeper was at. */
  async words (state: KeeperState | null): Promise<string> {
    await this.ended()
    return this.#program?.words() || `its keeper is ${state ?? 'gone'}`
  }

  /** Lets go of it, as it is. */
  close (): void {
    this.#keeper?.close()
    this.#program?.close()
  }
}
