// Events for listeners and for `for await`: typed, in order, none lost before the first reader.
import { EventEmitter } from 'node:events'

/** `event` says what it is; the other members belong to it. */
export interface AnyEvent { event: string }

/** Of these, only the latest of a row says anything. */
const kPassing = ['progress', 'connections', 'refused']

/** Events not yet read are kept for the first iterator, of `kPassing` ones only the latest. */
export class EventStream<E extends AnyEvent> implements AsyncIterable<E> {
  readonly #emitter = new EventEmitter()
  #waiting: E[] = []
  #wake: (() => void) | null = null
  #ended = false

  on<N extends E['event']> (name: N, listener: (event: Extract<E, { event: N }>) => void): this {
    this.#emitter.on(name, listener)
    return this
  }

  off<N extends E['event']> (name: N, listener: (event: Extract<E, { event: N }>) => void): this {
    this.#emitter.off(name, listener)
    return this
  }

  /** For the owner of the stream. */
  emit (event: E): void {
    const last = this.#waiting.at(-1)
    if (kPassing.includes(event.event) && last?.event === event.event) this.#waiting.pop()
    this.#waiting.push(event)
    this.#wake?.()
    try {
      this.#emitter.emit(event.event, event)
    } catch (error) {
      // The listener's own mistake: nobody's business here, but not to be swallowed either.
      queueMicrotask(() => { throw error })
    }
  }

  /** For the owner: no more events come. */
  end (): void {
    this.#ended = true
    this.#wake?.()
  }

  async* [Symbol.asyncIterator] (): AsyncIterator<E> {
    for (;;) {
      const event = this.#waiting.shift()
      if (event !== undefined) {
        yield event
      } else if (this.#ended) {
        return
      } else {
        await new Promise<void>((resolve) => { this.#wake = resolve })
        this.#wake = null
      }
    }
  }
}
