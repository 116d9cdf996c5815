// SIGINT and the like: the first asks a command to end in order, the second ends it at once.
import { kExit } from './exit-codes.js'

export class Interrupt {
  readonly #signals: NodeJS.Signals[]
  readonly #listener: () => void
  #happened = false

  /** `ask` is called once. */
  constructor (signals: NodeJS.Signals[], ask: () => void) {
    this.#signals = signals
    this.#listener = () => {
      if (this.#happened) process.exit(kExit.interrupted)
      this.#happened = true
      ask()
    }
    for (const signal of signals) process.on(signal, this.#listener)
  }

  get happened (): boolean {
    return this.#happened
  }

  stop (): void {
    for (const signal of this.#signals) process.off(signal, this.#listener)
  }
}
