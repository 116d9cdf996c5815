// SIGINT and the like: the first asks a command to end in order, the second ends it at once.
import { kExit } from './exit-codes.js'

export class Interrupt {
  readonly #signals: NodeJS.Signals[]
  readonly #listener: () => void
  #happened = false

  /** `ask` is called once; `end` before the process ends at once, and answers its exit code. */
  constructor (
    signals: NodeJS.Signals[], ask: () => void, end: () => number = () => kExit.interrupted
  ) {
    this.#signals = signals
    this.#listener = () => {
      if (this.#happened) process.exit(end())
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
