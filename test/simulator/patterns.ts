// Where the model's writers write. A pattern is asked to put a number of 4 KiB writes on the disk.
import type { Disk } from './disk.js'
import type { Random } from '../../testbed/support/random.js'

/** Puts `writes` writes on the disk. */
export type Pattern = (writes: number) => void

/** How many different regions one batch of many writes is spread over. */
const kSpread = 8

/** Writes many in a batch go to a few regions, each standing for the others. */
function spread (disk: Disk, writes: number, region: () => number): void {
  const places = Math.min(writes, disk.perRegion === 1 ? writes : kSpread)
  for (let place = 0; place < places; place++) disk.scatter(region(), writes / places)
}

/** Uniform over the `share` of the disk that begins at `from` (both 0 to 1). */
export function uniform (disk: Disk, random: Random, share = 1, from = 0): Pattern {
  const first = Math.floor(from * disk.regions)
  const count = Math.max(1, Math.floor(share * disk.regions))
  return (writes) => spread(disk, writes, () => (first + random.below(count)) % disk.regions)
}

/** Zipf with exponent `theta` over all regions, the popular ones scattered. */
export function zipf (disk: Disk, random: Random, theta: number): Pattern {
  const ranks = new Ranks(disk.regions, theta)
  const stride = coprimeStride(disk.regions)
  return (writes) => spread(disk, writes, () => ranks.at(random.next()) * stride % disk.regions)
}

/** Ranks with the weight (rank + 1)^−theta, looked up by their cumulative share. */
class Ranks {
  readonly #shares: Float64Array
  /** The first rank whose cumulative share reaches i/n: where a search may begin. */
  readonly #guide: Uint32Array

  constructor (count: number, theta: number) {
    this.#shares = new Float64Array(count)
    let sum = 0
    for (let index = 0; index < count; index++) this.#shares[index] = sum += (index + 1) ** -theta
    for (let index = 0; index < count; index++) this.#shares[index]! /= sum
    this.#guide = new Uint32Array(count)
    for (let slot = 0, rank = 0; slot < count; slot++) {
      while (this.#shares[rank]! < slot / count) rank++
      this.#guide[slot] = rank
    }
  }

  at (chance: number): number {
    let rank = this.#guide[Math.floor(chance * this.#guide.length)]!
    while (this.#shares[rank]! < chance && rank < this.#shares.length - 1) rank++
    return rank
  }
}

function coprimeStride (count: number): number {
  for (let stride = Math.floor(count * 0.618) | 1; ; stride += 2) {
    if (greatestDivisor(stride, count) === 1) return stride
  }
}

function greatestDivisor (a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b)
}

/** From one end of the disk to the other, again and again. */
export function sequential (disk: Disk, startShare = 0): Pattern {
  let block = Math.floor(startShare * disk.regions) * disk.perRegion
  const blocks = disk.regions * disk.perRegion
  let owed = 0
  return (writes) => {
    owed += writes
    const whole = Math.floor(owed / disk.perRegion) * disk.perRegion
    if (whole === 0) return
    owed -= whole
    disk.run(block / disk.perRegion, whole)
    block = (block + whole) % blocks
  }
}

/** A recorded trace, again and again, squeezed onto the disk when it is larger; one region of the
 * disk holds one block. `trace` is block, count, block, count, … */
export function recorded (disk: Disk, trace: readonly number[], traceSize: number): Pattern {
  const scale = Math.min(1, disk.size / traceSize)
  let position = 0
  let owed = 0
  return (writes) => {
    for (owed += writes; owed > 0; position = (position + 2) % trace.length) {
      disk.run(Math.floor(trace[position]! * scale) % disk.regions, trace[position + 1]!)
      owed -= trace[position + 1]!
    }
  }
}
