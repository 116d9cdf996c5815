// Before anything is overwritten at the destination it is shown that its disk is another than the source's.
// Storage that both see, under whatever names, would have what its writers have just written overwritten by
// what was read before.
//
// What shows it is a range that holds one thing there, look after look, and something else here: a source
// that was flushed and a destination that reads past its cache would have to agree. What shows the opposite
// is a range that changes there with the writes here.
import { setTimeout as sleep } from 'node:timers/promises'

import { BlockferryError } from '../base/errors.js'
import type { ByteRange } from '../native/types.js'
import type { Tap } from '../tap/tap.js'
import { inTime } from '../base/in-time.js'
import { answerLimitMs } from '../session/time-limits.js'
import type { Messages } from '../session/messages.js'
import { mostScanned, rangesToCompare } from './probed-ranges.js'
import type { SourceLink } from './link.js'

/** Before something is to be overwritten, only what was just written, with a pause between, ms. */
const kPauseMs = 250
const kLongestPauseMs = 5000
/** How often a range is looked at. */
const kLooks = 3
/** … and how often again, at odd times, while it is written, as what goes back and forth between two contents can
 * deceive a few looks; more often where it was the same here in some looks. */
const kMoreLooks = 8
const kMostLooks = 24
const kOddMs = 10

interface Look { ours: string[], theirs: string[] }

/** Of all disks of a migration over one link, `separate` where it is known. */
export class Separation {
  readonly #disks: DiskSeparation[]

  constructor (
    link: SourceLink, taps: readonly Tap[], options: { blockSize: number, linkTimeoutMs: number },
    disks: Messages['accept']['disks']
  ) {
    let turn: Promise<unknown> = Promise.resolve()
    // One probe at a time.
    const probe = (message: Messages['probe']): Promise<Messages['probed']> => {
      const probed = turn.then(() => ask(link, message, options.linkTimeoutMs))
      turn = probed.catch(() => {})
      return probed
    }
    this.#disks = taps.map((tap, disk) => new DiskSeparation(tap, options.blockSize, disks[disk]?.separate === true, {
      probe: async (ranges) => (await probe({ disk, ranges })).hashes,
      separate: () => link.sender.separate(disk),
      failed: link.failed
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
  failed: Promise<never>
}

class DiskSeparation {
  readonly #tap: Tap
  readonly #blockSize: number
  readonly #known: boolean
  readonly #peer: Peer
  #asked: number | null = null
  #wake: () => void = () => {}
  #scan = { scanned: 0, calls: 0 }

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
    for (let pauseMs = kPauseMs; !this.#known; pauseMs = Math.min(2 * pauseMs, kLongestPauseMs)) {
      if (await this.#isSeparate()) return this.#peer.separate()
      if (this.#asked === null) await this.#untilAsked(pauseMs)
      else this.#checkScan()
    }
  }

  async #isSeparate (): Promise<boolean> {
    const { ranges, scanned } = rangesToCompare(this.#tap, this.#blockSize, this.#asked, this.#scan)
    if (ranges.length === 0) return false
    const { writes } = this.#tap.stats()
    const looks: Look[] = []
    while (looks.length < kLooks) looks.push(await this.#look(ranges))
    const different = ranges.filter((_range, i) => differs(looks, i)).at(-1)
    const areTwo = different !== undefined &&
      (this.#isUnwritten(writes) || await this.#staysSo(differs, different, kMoreLooks))
    if (areTwo) return true
    const unmoved = ranges.filter((_range, i) => isUnmoved(looks, i)).at(-1)
    if (unmoved !== undefined && await this.#staysSo(isUnmoved, unmoved, kMostLooks)) return true
    if (ranges.some((_range, i) => follows(looks, i))) throw this.#same('it changes with the writes here')
    if (scanned > 0) this.#scan = { scanned: this.#scan.scanned + scanned, calls: this.#scan.calls + 1 }
    return false
  }

  /** There is no difference so far. */
  #checkScan (): void {
    if (this.#scan.scanned < mostScanned(this.#tap.size)) return
    throw this.#same('or can\'t be told from it: all that was compared is there already, and need not be sent with `reuse`')
  }

  /** A tap in the kernel counts with some delay. */
  #isUnwritten (before: number): boolean {
    return this.#tap.kind === 'nbd' && this.#tap.stats().writes === before
  }

  async #staysSo (is: typeof differs, range: ByteRange, count: number): Promise<boolean> {
    const looks: Look[] = []
    while (looks.length < count) {
      await sleep(Math.random() * kOddMs)
      looks.push(await this.#look([range]))
      if (!isStill(looks, 0)) return false
    }
    return is(looks, 0)
  }

  async #look (ranges: readonly ByteRange[]): Promise<Look> {
    await this.#tap.flush()
    const ours = await this.#tap.native.hashes(ranges, false)
    const theirs = await this.#peer.probe(ranges)
    if (theirs.length === ranges.length) return { ours, theirs }
    throw new BlockferryError('PROTOCOL', 'another number of hashes than of ranges')
  }

  async #untilAsked (ms: number): Promise<void> {
    const asked = new Promise<void>((resolve) => { this.#wake = resolve })
    await Promise.race([asked, sleep(ms, undefined, { ref: false }), this.#peer.failed])
  }

  #same (why: string): BlockferryError {
    return new BlockferryError('REFUSED',
      `what ${this.#tap.name} comes to is the disk itself that is to move (${why}): shared storage does not have to be copied`)
  }
}

/** The range held one thing there all the time, and never that here. */
function differs (looks: readonly Look[], i: number): boolean {
  return isStill(looks, i) && looks.every(({ ours, theirs }) => ours[i] !== theirs[i])
}

/** … and not always that here. */
function isUnmoved (looks: readonly Look[], i: number): boolean {
  return isStill(looks, i) && looks.some(({ ours, theirs }) => ours[i] !== theirs[i])
}

function isStill (looks: readonly Look[], i: number): boolean {
  return looks.every(({ theirs }) => theirs[i] !== '' && theirs[i] === looks[0]!.theirs[i])
}

/** What came anew here came there, too. */
function follows (looks: readonly Look[], i: number): boolean {
  return looks.some(({ ours, theirs }, look) => {
    const before = looks[look - 1]
    return before !== undefined && ours[i] !== before.ours[i] && theirs[i] !== before.theirs[i] && ours[i] === theirs[i]
  })
}

async function ask (link: SourceLink, message: Messages['probe'], linkTimeoutMs: number): Promise<Messages['probed']> {
  const answer = link.ask('probe', message, 'probed')
  if (await inTime(answer, answerLimitMs(linkTimeoutMs))) return await answer
  throw new BlockferryError('TIMEOUT', 'the destination does not tell what its disk holds')
}
