// The model of a link: first in, first out, a rate that may change, a fixed delay.

export interface LinkChange {
  /** ms. */
  at: number
  /** Bytes/s from then on. */
  rate: number
}

export interface LinkOptions {
  /** Bytes/s; 0 only for a while, by `changes`. */
  rate: number
  roundTripMs: number
  changes?: readonly LinkChange[]
  /** How far the rate strays from its mean, as a share of it; default 0. */
  noise?: number
  /** How often it does, ms; default 100. */
  noiseMs?: number
  seed?: number
}

export class Link {
  readonly roundTripMs: number
  readonly #options: LinkOptions
  readonly #noiseMs: number
  #free = 0

  constructor (options: LinkOptions) {
    this.#options = options
    this.roundTripMs = options.roundTripMs
    this.#noiseMs = options.noiseMs ?? 100
  }

  /** Puts bytes on the link at `now`; answers when the last one has left, ms. */
  send (now: number, bytes: number): number {
    this.#free = this.#finish(Math.max(now, this.#free), bytes)
    return this.#free
  }

  /** When everything that was put on the link has left, ms. */
  get drainedAt (): number { return this.#free }

  #finish (start: number, bytes: number): number {
    let at = start
    let left = bytes
    for (;;) {
      const { rate, until } = this.#rateAt(at)
      const possible = rate * (until - at) / 1000
      if (left <= possible) return at + left * 1000 / rate
      left -= possible
      at = until
    }
  }

  #rateAt (at: number): { rate: number, until: number } {
    const { rate, changes = [], noise = 0, seed = 0 } = this.#options
    let now = rate
    let until = Infinity
    for (const change of changes) {
      if (change.at <= at) now = change.rate
      else until = Math.min(until, change.at)
    }
    if (noise === 0) return { rate: now, until }
    const slot = Math.floor(at / this.#noiseMs)
    const end = (slot + 1) * this.#noiseMs
    const factor = 1 + noise * (2 * scramble(slot + seed * 7919) - 1)
    return { rate: now * factor, until: Math.min(until, end > at ? end : end + this.#noiseMs) }
  }
}

/** A number in [0, 1) that depends on `value` alone. */
function scramble (value: number): number {
  let mixed = Math.imul((value ^ 0x9e3779b9) | 0, 0x85ebca6b)
  mixed ^= mixed >>> 13
  mixed = Math.imul(mixed, 0xc2b2ae35)
  return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32
}
