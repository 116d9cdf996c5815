// Before anything is overwritten at the destination it is shown that its disk is another than the source's.
// Storage that both see, under whatever names, would have what its writers have just written overwritten by
// what was read before.
//
// What shows it is a range that holds one thing there, look after look, and something else here: a source
// that was flushed and a destination that reads past its cache would have to agree. What shows the opposite
// is a range that changes there with the writes here.
import { setTimeout as sleep } from 'node:timers/promises'

import { BlockferryError } from '../errors.js'
import type { ByteRange } from '../native.js'
import type { Tap } from '../tap.js'
import type { Messages } from './messages.js'
import { mostScanned, rangesToCompare } from './probed-ranges.js'
import type { SourceLink } from './source-link.js'

/** Before something is to be overwritten, only what was just written: so often, with a pause between, ms. */
const kUnasked = 8
const kPauseMs = 250
/** How often a range is looked at: one that goes back and forth between two contents can deceive two looks. */
const kLooks = 3
/** What was written last is there already, so many times: too often to be chance. */
const kFresh = 8
/** … once so much else was compared, pieces. */
const kComparedBefore = 256

const kZeroes = '0000000000000000'

interface Look { ours: string[], theirs: string[] }

/** Of all disks of a migration over one link, `separate` where it is known. */
export class Separation {
  readonly #disks: DiskSeparation[]

  constructor (link: SourceLink, taps: readonly Tap[], blockSize: number, disks: Messages['accept']['disks']) {
    let turn: Promise<unknown> = Promise.resolve()
    // One probe at a time.
    const probe = (message: Messages['probe']): Promise<Messages['probed']> => {
      const probed = turn.then(() => link.ask('probe', message, 'probed'))
      turn = probed.catch(() => {})
      return probed
    }
    this.#disks = taps.map((tap, disk) => new DiskSeparation(tap, blockSize, disks[disk]?.separate === true, {
      probe: async (ranges) => (await probe({ disk, ranges })).hashes,
      separate: () => link.sender.separate(disk)
    }))
    link.overwrites = ({ disk, offset }) => this.#disks[disk]?.ask(offset)
  }

  /** REFUSED where it is the same disk, or can't be told from it. */
  async prove (): Promise<void> {
    await Promise.all(this.#disks.map((disk) => disk.prove()))
  }
}

interface Peer {
  probe (ranges: readonly ByteRange[]): Promise<string[]>
  separate (): void
}

class DiskSeparation {
  readonly #tap: Tap
  readonly #blockSize: number
  readonly #known: boolean
  readonly #peer: Peer
  #asked: number | null = null
  #wake: () => void = () => {}
  #scan = { scanned: 0, calls: 0 }
  readonly #fresh = new Set<string>()

  constructor (tap: Tap, blockSize: number, known: boolean, peer: Peer) {
    this.#tap = tap
    this.#blockSize = blockSize
    this.#known = known
    this.#peer = peer
  }

  /** Something is to be overwritten there, which waits. */
  ask (offset: number): void {
    this.#asked = offset
    this.#wake()
  }

  async prove (): Promise<void> {
    for (let unasked = 0; !this.#known;) {
      if (await this.#isSeparate()) return this.#peer.separate()
      if (this.#asked === null) await this.#untilAsked(unasked++ < kUnasked ? kPauseMs : null)
      else this.#judge()
    }
  }

  async #isSeparate (): Promise<boolean> {
    const { ranges, written, scanned } = rangesToCompare(this.#tap, this.#blockSize, this.#asked, this.#scan)
    if (ranges.length === 0) return false
    const looks = await this.#look(ranges)
    if (ranges.some((_range, i) => differs(looks, i))) return true
    if (ranges.some((_range, i) => follows(looks, i))) throw this.#same('it changes with the writes here')
    for (let i = 0; i < written; i++) this.#note(looks, i)
    if (scanned > 0) this.#scan = { scanned: this.#scan.scanned + scanned, calls: this.#scan.calls + 1 }
    return false
  }

  /** There is no difference so far. */
  #judge (): void {
    const { scanned } = this.#scan
    const most = mostScanned(this.#tap.size)
    if (this.#fresh.size >= kFresh && scanned >= Math.min(kComparedBefore, most)) {
      throw this.#same('it holds already what was just written here')
    }
    if (scanned >= most) {
      throw this.#same('or can\'t be told from it: all that was compared is there already, and need not be sent with `reuse`')
    }
  }

  /** What its writers have just written is there. */
  #note (looks: readonly Look[], i: number): void {
    const { ours, theirs } = looks.at(-1)!
    const isStable = looks.every((look) => look.ours[i] === ours[i])
    if (isStable && ours[i] === theirs[i] && ours[i] !== kZeroes) this.#fresh.add(ours[i]!)
  }

  async #look (ranges: readonly ByteRange[]): Promise<Look[]> {
    const looks: Look[] = []
    while (looks.length < kLooks) {
      await this.#tap.flush()
      const ours = await this.#tap.native.hashes(ranges, false)
      const theirs = await this.#peer.probe(ranges)
      if (theirs.length !== ranges.length) throw new BlockferryError('PROTOCOL', 'another number of hashes than of ranges')
      looks.push({ ours, theirs })
    }
    return looks
  }

  async #untilAsked (ms: number | null): Promise<void> {
    const asked = new Promise<void>((resolve) => { this.#wake = resolve })
    await (ms === null ? asked : Promise.race([asked, sleep(ms, undefined, { ref: false })]))
  }

  #same (why: string): BlockferryError {
    return new BlockferryError('REFUSED',
      `what ${this.#tap.name} comes to is the disk itself that is to move (${why}): shared storage does not have to be copied`)
  }
}

/** The range held one thing there all the time, and never that here. */
function differs (looks: readonly Look[], i: number): boolean {
  return looks.every(({ ours, theirs }) => theirs[i] === looks[0]!.theirs[i] && ours[i] !== theirs[i])
}

/** What came anew here came there, too. */
function follows (looks: readonly Look[], i: number): boolean {
  return looks.some(({ ours, theirs }, look) => {
    const before = looks[look - 1]
    return before !== undefined && ours[i] !== before.ours[i] && theirs[i] !== before.theirs[i] && ours[i] === theirs[i]
  })
}
