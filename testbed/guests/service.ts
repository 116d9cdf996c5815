// What one can ask of a running guest, over HTTP from the namespace of its clients.

import { run } from '../support/command.js'

export interface StressOptions {
  /** The size of the file that it writes to. Default: 64. */
  readonly mebibytes?: number
  /** Writes a second. Default: 0, as many as it can. */
  readonly rate?: number
  /** Each block is on the disk before the next is written. Default: true. */
  readonly sync?: boolean
}

export class GuestService {
  readonly #namespace: string
  readonly #address: string

  constructor (namespace: string, address: string) {
    this.#namespace = namespace
    this.#address = address
  }

  /** Starts writing 4 KiB blocks at random places of a file, past the guest's page cache. */
  async startStress ({ mebibytes = 64, rate = 0, sync = true }: StressOptions = {}): Promise<void> {
    await this.#ask(`stress/start?mebibytes=${mebibytes}&rate=${rate}&sync=${Number(sync)}`)
  }

  async stopStress (): Promise<void> {
    await this.#ask('stress/stop')
  }

  /** Blocks that it has written since the guest started. */
  async stressCount (): Promise<number> {
    return Number(await this.#ask('stress/count'))
  }

  /** Starts a program that fills so many MiB of memory anew, around and around, with what does not
   * compress. `pagesPerSecond`: about so many; default: as many as it can. */
  async startDirtying (mebibytes: number, pagesPerSecond = 0): Promise<void> {
    await this.#ask(`memory/start?mebibytes=${mebibytes}&rate=${pagesPerSecond}`)
  }

  async stopDirtying (): Promise<void> {
    await this.#ask('memory/stop')
  }

  /** Appends a record to the log, and answers it: its number and `client`, a number of yours. */
  async write (client: number): Promise<string> {
    return (await this.#ask(`write?client=${client}`)).trim()
  }

  /** The guest starts to shut down; QEMU ends with it. */
  async powerOff (): Promise<void> {
    await this.#ask('poweroff')
  }

  async #ask (path: string): Promise<string> {
    const program = new URL('../clients/programs/ask.js', import.meta.url).pathname
    const url = `http://${this.#address}/service/${path}`
    return run('ip', 'netns', 'exec', this.#namespace, process.execPath, program, url)
  }
}
