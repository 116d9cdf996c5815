// A small seeded generator (mulberry32): the same seed gives the same run everywhere.

export class Random {
  #state: number

  constructor (seed: number) {
    this.#state = seed >>> 0
  }

  /** In [0, 1). */
  next (): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number in [0, below). */
  below (below: number): number {
    return Math.floor(this.next() * below)
  }

  between (low: number, high: number): number {
    return low + (high - low) * this.next()
  }

  /** Spread evenly over the orders of magnitude. */
  scaleBetween (low: number, high: number): number {
    return low * (high / low) ** this.next()
  }

  pick<T> (choices: readonly T[]): T {
    return choices[this.below(choices.length)]!
  }
}
