// Notices a peer that is silent: TCP alone does not, when its process is stopped or its event
// loop hangs.
import { BlockferryError } from '../base/errors.js'

export class Heartbeat {
  readonly #timeoutMs: number
  readonly #beat: (number: number) => void
  readonly #dead: (error: BlockferryError) => void
  #timer: NodeJS.Timeout | null = null
  #missed = 0
  #number = 0

  constructor (timeoutMs: number, beat: (number: number) => void, dead: (error: BlockferryError) => void) {
    this.#timeoutMs = timeoutMs
    this.#beat = beat
    this.#dead = dead
  }

  /** Four beats in a timeout. They are counted, not timed: a process that was stopped itself, or
   * a clock that jumped, makes nobody dead. */
  start (): void {
    this.#timer = setInterval(() => {
      if (++this.#missed > 4) {
        this.stop()
        this.#dead(new BlockferryError('TIMEOUT', `the peer was silent for ${this.#timeoutMs} ms`))
      } else {
        this.#beat(++this.#number)
      }
    }, this.#timeoutMs / 4)
    this.#timer.unref()
  }

  heard (): void {
    this.#missed = 0
  }

  stop (): void {
    if (this.#timer !== null) clearInterval(this.#timer)
  }
}
