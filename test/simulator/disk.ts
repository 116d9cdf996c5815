// The model of a disk and its dirty map, at any size.
//
// The disk is cut into regions of `perRegion` blocks of 4 KiB. With one block per region this is
// the dirty map itself, bit by bit. With more, a region holds how many of its blocks are dirty,
// as an expectation: n scattered writes into m blocks touch m(1 − (1 − 1/m)ⁿ) of them, and
// find each one dirty with the probability dirty/m. That is exact in the mean for a writer that is
// uniform inside a region, and makes 10 TiB as cheap as 1 GiB.

export const kBlock = 4096
const kGroup = 256
const kNothing = 1e-3

export interface Claim {
  /** Content bytes taken; 0 when nothing could be claimed. */
  bytes: number
  /** The cursor went past the end of the disk on the way. */
  wrapped: boolean
}

export class Disk {
  readonly size: number
  readonly regions: number
  readonly perRegion: number
  readonly #dirty: Float64Array
  readonly #young: Float64Array
  readonly #epochs: Uint32Array
  readonly #groups: Int32Array // regions with dirty blocks, per group of regions
  #epoch = 0
  #dirtyBlocks = 0
  #marked = 0
  #cursor = 0

  /** All dirty, like a disk of which nothing was copied. */
  constructor (size: number, mostRegions: number) {
    this.size = size
    this.perRegion = Math.max(1, Math.ceil(size / kBlock / mostRegions))
    this.regions = Math.ceil(size / kBlock / this.perRegion)
    this.#dirty = new Float64Array(this.regions).fill(this.perRegion)
    this.#young = new Float64Array(this.regions)
    this.#epochs = new Uint32Array(this.regions)
    this.#groups = new Int32Array(Math.ceil(this.regions / kGroup)).fill(kGroup)
    const last = this.#groups.length - 1
    this.#groups[last] = this.regions - last * kGroup
    this.#dirtyBlocks = this.regions * this.perRegion
  }

  get dirtyBytes (): number { return this.#dirtyBlocks * kBlock }
  /** Bytes of blocks that went from clean to dirty, ever. */
  get markedBytes (): number { return this.#marked * kBlock }

  isDirty (region: number): boolean { return this.#dirty[region]! > 0 }

  /** Every block is old from here on. */
  age (): void { this.#epoch++ }

  /** `writes` scattered writes of a block each. */
  scatter (region: number, writes: number): void {
    const m = this.perRegion
    this.#mark(region, m === 1 ? 1 : m * (1 - (1 - 1 / m) ** writes))
  }

  /** A run of blocks, from the start of a region; the rest of the last region is left alone. */
  run (region: number, blocks: number): void {
    for (let left = blocks, at = region; left > 0; left -= this.perRegion, at++) {
      this.#mark(at % this.regions, Math.min(left, this.perRegion))
    }
  }

  #mark (region: number, touched: number): void {
    const m = this.perRegion
    const dirty = this.#dirty[region]!
    const fresh = touched * (m - dirty) / m
    if (dirty === 0 && fresh > 0) this.#groups[Math.floor(region / kGroup)]!++
    this.#dirty[region] = dirty + fresh
    const young = this.#youngIn(region)
    this.#young[region] = Math.min(young + touched * (m - young) / m, dirty + fresh)
    this.#epochs[region] = this.#epoch
    this.#dirtyBlocks += fresh
    this.#marked += fresh
  }

  #youngIn (region: number): number {
    return this.#epochs[region] === this.#epoch ? this.#young[region]! : 0
  }

  /** Takes the next run of claimable blocks at the cursor, at most `limit` bytes. */
  claim (limit: number, skipYoung: boolean): Claim {
    const before = this.#cursor
    const found = this.#find(skipYoung)
    if (found < 0) return { bytes: 0, wrapped: true }
    let blocks = 0
    let region = found
    while (region < this.regions && blocks * kBlock < limit) {
      const taken = Math.min(this.#claimable(region, skipYoung), limit / kBlock - blocks)
      if (taken <= kNothing) break
      this.#take(region, taken)
      blocks += taken
      // A region that is left half-way still moves the cursor: it must not be held there.
      region++
    }
    this.#cursor = region % this.regions
    return { bytes: blocks * kBlock, wrapped: found < before || region >= this.regions }
  }

  #claimable (region: number, skipYoung: boolean): number {
    return this.#dirty[region]! - (skipYoung ? this.#youngIn(region) : 0)
  }

  #take (region: number, blocks: number): void {
    const left = this.#dirty[region]! - blocks
    const rest = left <= kNothing ? 0 : left
    this.#dirtyBlocks -= this.#dirty[region]! - rest
    this.#dirty[region] = rest
    if (rest === 0) this.#groups[Math.floor(region / kGroup)]!--
    this.#young[region] = Math.min(this.#youngIn(region), rest)
    this.#epochs[region] = this.#epoch
  }

  /** The first region at or after the cursor, around the end, with claimable blocks, or -1. */
  #find (skipYoung: boolean): number {
    const after = this.#findBetween(this.#cursor, this.regions, skipYoung)
    return after >= 0 ? after : this.#findBetween(0, this.#cursor, skipYoung)
  }

  #findBetween (from: number, to: number, skipYoung: boolean): number {
    for (let region = from; region < to;) {
      if (region % kGroup === 0 && this.#groups[region / kGroup] === 0) {
        region += kGroup
      } else if (this.#claimable(region, skipYoung) > kNothing) {
        return region
      } else {
        region++
      }
    }
    return -1
  }
}
