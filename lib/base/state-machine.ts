import { BlockferryError } from './errors.js'

/** States, and the arrows between them: a step that is none of them is a mistake of ours, INTERNAL. */
export class StateMachine<State extends string> {
  readonly #what: string
  readonly #arrows: Readonly<Record<State, readonly State[]>>
  #state: State

  /** `what`: for the words of the error. */
  constructor (what: string, arrows: Readonly<Record<State, readonly State[]>>, first: State) {
    this.#what = what
    this.#arrows = arrows
    this.#state = first
  }

  get state (): State {
    return this.#state
  }

  is (...states: readonly State[]): boolean {
    return states.includes(this.#state)
  }

  to (next: State): void {
    if (!this.#arrows[this.#state].includes(next)) {
      throw new BlockferryError('INTERNAL', `${this.#what}: no way from ${this.#state} to ${next}`)
    }
    this.#state = next
  }
}
