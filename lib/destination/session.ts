// One migration at the destination: opens the disks that are offered, and decides the commit.
//
// What is compared is what is committed: the native session is sealed before, so that its streams
// write no more. The decision is one step on this thread: from it on the disks are owned here. A
// source that lost the link asks for the outcome on a new connection; asking ends an undecided
// session, which then can never commit.
import { BlockferryError, toBlockferryError } from '../base/errors.js'
import { DestinationOwnership } from '../ownership/destination-ownership.js'
import type { NativeSession } from '../native/types.js'
import { limitRanges } from './limit-ranges.js'
import { isEqual, writtenByOthers } from './comparison.js'
import { Heartbeat } from '../session/heartbeat.js'
import { inTime } from '../base/in-time.js'
import type { SessionContext } from './session-context.js'
import { isLinkLoss } from '../session/link-loss.js'
import type { Message, Messages, MessageType } from '../session/messages.js'
import { checkOffer, decode, encode } from '../session/messages.js'
import { NetworkSteps } from '../session/network-steps.js'
import type { Outcome } from './outcomes.js'
import { Probes } from './probes.js'
import type { DestinationReport } from '../session/report.js'
import { DestinationDisks } from './disks.js'
import { DestinationMachine } from './machine.js'

/** `sealed`: nothing more is taken, and what is here is compared. `deciding`: the commit is being made
 * durable; only the disk can still say no. */
type State = 'greeting' | 'receiving' | 'sealed' | 'deciding' | 'committed' | 'over'

/** How long the source may take to hang up after the commit. */
const kHangUpMs = 2000
/** How long a broken stream waits for the source's own word on why: it may be a cancel, and say
 * whether to keep what was copied. */
const kReasonMs = 500
/** Whoever connects must make an offer, or ask, within this time. */
const kGreetingMs = 10_000

export class DestinationSession {
  /** Whom TLS has shown the source to be; empty without TLS. */
  readonly peer: string
  /** When it may go by that name. */
  migration: string | null = null
  #context: SessionContext<DestinationSession>
  #session: NativeSession
  #state: State = 'greeting'
  #disks: DestinationDisks | null = null
  /** The native session knows the disks. */
  #isAccepted = false
  /** Settles, without an error, when what an offer needs was set up, or was not. */
  #accepting: Promise<void> | null = null
  #equality = true
  #startedAt = performance.now()
  #verified = { mark: 0, right: false }
  #commit: Messages['commit'] | null = null
  #ownership: DestinationOwnership | null = null
  #decision: Promise<void> = Promise.resolve()
  /** The session ended while the commit was being made durable. */
  #isCut = false
  #isSwitchingOver = false
  /** It is not known whether the commit is durable. */
  #isUnknown = false
  #isHeard = false
  #isAsked = false
  #mayBeAsked = false
  readonly #probes = new Probes()
  readonly #machine: DestinationMachine
  readonly #network: NetworkSteps
  #heartbeat: Heartbeat
  #hungUp: () => void = () => {}
  #ended: () => void = () => {}
  /** Its disks are free again. */
  readonly ended = new Promise<void>((resolve) => { this.#ended = resolve })
  readonly #peerLeft = new Promise<void>((resolve) => { this.#hungUp = resolve })

  constructor (session: NativeSession, host: SessionContext<DestinationSession>) {
    this.#session = session
    this.peer = session.peer()
    this.#context = host
    this.#machine = new DestinationMachine(
      host.options.machine, (reason) => this.#fail(toBlockferryError(reason)))
    this.#network = new NetworkSteps(host.options.network)
    this.#heartbeat = new Heartbeat(
      host.options.linkTimeoutMs, (number) => this.#send('ping', { number }), (error) => this.#lose(error))
    this.#heartbeat.start()
    setTimeout(() => {
      if (this.#state === 'greeting') this.#fail(new BlockferryError('TIMEOUT', 'no offer came'))
    }, kGreetingMs).unref()
    session.start((event, value) => this.#onEvent(event, value))
  }

  /** Null: it can't be told. */
  get outcome (): Outcome | null {
    if (this.#isUnknown) return null
    return { committed: this.#state === 'committed', digests: this.#digests() }
  }

  /** The source was told that it can begin. */
  get isAccepted (): boolean {
    return this.#isAccepted
  }

  /** It ended because the link did, when the source may have told us to decide: it will ask what
   * became of it. */
  get mayBeAsked (): boolean {
    return this.#mayBeAsked
  }

  /** The machine here waits for this one's. */
  get hasMachine (): boolean {
    return this.#machine.isTaken
  }

  get disks (): Array<{ name: string, bytes: number }> {
    return this.#disks?.taps.map(({ offered }) => ({ name: offered.name, bytes: offered.size })) ?? []
  }

  report (): DestinationReport {
    const digests = this.#equality ? this.#digests() : null
    return {
      migration: this.migration ?? '',
      durationMs: performance.now() - this.#startedAt,
      ...this.#disks!.report(digests, this.#session.stats())
    }
  }

  /** The source asks: ends an undecided migration; a committed one is left alone. Resolves when
   * nothing more is going to be decided. */
  async end (error: BlockferryError): Promise<void> {
    this.#mayBeAsked = false
    this.#fail(error)
    await this.#decision
  }

  /** Waits a little for the source to hang up after a commit, then ends the connections. */
  async close (): Promise<void> {
    await this.#decision
    if (this.#state === 'committed') {
      await inTime(this.#peerLeft, kHangUpMs)
    } else {
      this.#fail(new BlockferryError('CLOSED', 'the receiver was closed'))
      await this.ended
    }
    this.#heartbeat.stop()
    await this.#session.close()
    await this.#machine.release()
  }

  /** The machine is here: its packets are sent here, too. */
  switchNetwork (): Promise<void> {
    return this.#network.switchOver()
  }

  #digests (): string[] {
    if (!this.#isAccepted) return []
    return this.#disks!.taps.map((_tap, index) => this.#session.digest(index))
  }

  #send<T extends MessageType> (type: T, message: Messages[T]): void {
    try {
      this.#session.send(encode(type, message))
    } catch (error) {
      this.#onBroken(toBlockferryError(error))
    }
  }

  #onEvent (event: string, value: any): void {
    if (event === 'message') this.#onMessage(value)
    if (event === 'durable') this.#send('durable', { mark: value })
    if (event === 'verified') this.#onVerified(value)
    if (event === 'failed') this.#onBroken(toBlockferryError(value))
  }

  /** A connection broke, or took nothing more. */
  #onBroken (error: BlockferryError): void {
    // The last word of the source may still be on its way, on the control connection.
    const wait = error.code === 'PEER_GONE' && this.#state !== 'greeting' && !this.#isHeard
    setTimeout(() => {
      this.#hungUp()
      this.#lose(error)
    }, wait ? kReasonMs : 0)
  }

  #onMessage (text: string): void {
    this.#heartbeat.heard()
    let message: Message
    try {
      message = decode(text)
    } catch (error) {
      return this.#fail(toBlockferryError(error))
    }
    switch (message.type) {
      case 'ping': return this.#send('pong', { number: message.number })
      case 'pong': return
      case 'offer': return this.#onOffer(message)
      case 'probe': return this.#onProbe(message)
      case 'memory': return void this.#receiveMemory()
      case 'switchover':
        this.#isSwitchingOver = true
        return
      case 'commit': return this.#onCommit(message)
      case 'bye': return this.#onBye()
      case 'query': return void this.#reply('outcome', this.#outcomeOf(message.migration))
      case 'cancel': return this.#fail(new BlockferryError('CANCELLED', 'the source cancelled'), !message.keep)
      case 'failed': return this.#fail(new BlockferryError('PEER_GONE', `source: ${message.message}`))
      default: return this.#fail(new BlockferryError('PROTOCOL', `unexpected message ${message.type}`))
    }
  }

  #onOffer (offer: Messages['offer']): void {
    if (this.#state !== 'greeting') return this.#fail(new BlockferryError('PROTOCOL', 'a second offer'))
    if (this.#context.closing()) return this.#fail(new BlockferryError('CLOSED', 'the receiver was closed'))
    this.#state = 'receiving'
    try {
      this.#context.claim(this, offer.migration)
    } catch (error) {
      return this.#fail(toBlockferryError(error))
    }
    this.migration = offer.migration
    this.#equality = offer.equality
    this.#accepting = this.#prepare(offer)
      .then((disks) => this.#accept(offer, disks))
      .catch((error: unknown) => this.#fail(toBlockferryError(error)))
  }

  /** Sets up, until the session ends; then that waits for this, and takes back what is there. */
  async #prepare (offer: Messages['offer']): Promise<DestinationDisks> {
    checkOffer(offer)
    // What an earlier connection of the same source has set up must be gone first.
    const names = offer.disks.map(({ name }) => name)
    await this.#unlessOver(this.#context.freed(this, names, offer.machine !== null))
    await this.#unlessOver(this.#machine.expect(offer.machine))
    const disks = this.#disks = await DestinationDisks.open(offer.disks, this.#context.options.disks)
    this.#machine.checkSees(disks)
    await this.#unlessOver(this.#network.prepare())
    this.#ownership = await DestinationOwnership.begin(this.#context.journal, offer.migration, disks.owned(), this.peer)
    return disks
  }

  /** A step; rejects when the session ended meanwhile. */
  async #unlessOver (step: Promise<void>): Promise<void> {
    await step
    if (this.#isOver()) throw new BlockferryError('CLOSED', 'the session has ended')
  }

  #accept (offer: Messages['offer'], disks: DestinationDisks): void {
    if (this.#isOver()) return
    const inventory = disks.taps.map(({ tap }) => offer.reuse && !tap.blank)
    for (const [index, { tap, offered }] of disks.taps.entries()) {
      this.#session.addDisk(tap.native, offered.size, offered.blockSize, inventory[index]!)
    }
    this.#session.acceptStreams(offer.streams, offer.equality)
    this.#isAccepted = true
    this.#context.started(this)
    this.#send('accept', {
      disks: disks.taps.map(({ tap, separate }, index) => (
        { blank: tap.blank, separate, inventory: inventory[index]! }))
    })
  }

  /** One that comes late is no longer of interest, nor is what is here then the source's to know. */
  #onProbe (probe: Messages['probe']): void {
    if (this.#isSealed() || this.#state === 'deciding' || this.#state === 'committed') return
    void this.#reply('probed', this.#probes.answer(this.#isAccepted ? this.#disks : null, probe))
  }

  async #receiveMemory (): Promise<void> {
    try {
      if (!this.#isAccepted) throw new BlockferryError('PROTOCOL', 'memory without a migration')
      await this.#machine.receive((path) => {
        this.#session.acceptMachine(path)
        this.#send('memoryReady', {})
      })
    } catch (error) {
      return this.#fail(toBlockferryError(error))
    }
    this.#decide()
  }

  #onBye (): void {
    if (this.#state !== 'committed') return
    this.#isHeard = true
    this.#hungUp()
    this.#context.heard(this)
  }

  #isOver (): boolean {
    return this.#state === 'over'
  }

  #isSealed (): boolean {
    return this.#state === 'sealed'
  }

  #onVerified ({ mark, wrong, tookUs }: Messages['verified']): void {
    this.#verified = { mark, right: wrong.length === 0 }
    this.#send('verified', { mark, wrong: limitRanges(wrong), tookUs })
    this.#decide()
  }

  #onCommit (commit: Messages['commit']): void {
    if (this.#state !== 'receiving' || !this.#isAccepted) {
      return this.#fail(new BlockferryError('PROTOCOL', 'a commit without a migration'))
    }
    this.#commit = commit
    this.#decide()
  }

  /** Commits if the commit message and all before its mark are here, and everything is equal. */
  #decide (): void {
    const commit = this.#commit
    if (this.#state !== 'receiving' || commit === null || this.#verified.mark < commit.mark) return
    if (!this.#machine.isReady) return
    this.#commit = null
    this.#state = 'sealed'
    this.#session.seal()
      .then((changed) => { if (this.#isSealed()) this.#compare(commit, changed) })
      .catch((error: unknown) => this.#fail(toBlockferryError(error)))
  }

  /** `changed`: disks that somebody else has written behind the last flush, nobody knows where. What
   * else is not equal can be sent again. */
  #compare (commit: Messages['commit'], changed: readonly number[]): void {
    if (changed.length > 0) return this.#fail(writtenByOthers(this.#disks!, changed))
    const digests = this.#digests()
    if (!this.#verified.right || !isEqual(this.#session, digests, commit, this.#equality)) {
      this.#session.unseal()
      this.#state = 'receiving'
      return this.#send('notEqual', { digests })
    }
    this.#state = 'deciding'
    this.#decision = this.#commitDurably(digests, commit.run)
  }

  async #commitDurably (digests: string[], run: boolean): Promise<void> {
    try {
      await this.#ownership!.committed(digests)
    } catch (thrown) {
      const error = toBlockferryError(thrown)
      this.#state = 'receiving'
      // The disk said neither yes nor no: nobody may act on it before the journal is opened anew.
      this.#isUnknown = error.owner === 'unknown'
      // It took its time, and the link may not have lived to carry the answer.
      this.#mayBeAsked = true
      return this.#fail(error)
    }
    this.#state = 'committed'
    this.#send('committed', { digests })
    this.#disks!.own()
    this.#context.committed(this, this.#disks!, run)
    if (this.#isCut) this.#context.ended(this)
  }

  async #outcomeOf (migration: string): Promise<Outcome> {
    if (this.#isAsked) throw new BlockferryError('PROTOCOL', 'a second question')
    this.#isAsked = true
    const outcome = await this.#context.outcomeOf(migration, this.peer)
    if (outcome === null) throw new BlockferryError('NOT_FOUND', 'this migration is not known here')
    return outcome
  }

  /** Answers, or ends the session. */
  async #reply<T extends MessageType> (type: T, answer: Promise<Messages[T]>): Promise<void> {
    try {
      const message = await answer
      if (!this.#isOver()) this.#send(type, message)
    } catch (error) {
      this.#fail(toBlockferryError(error))
    }
  }

  /** The end of the session, perhaps with that of the link. */
  #lose (error: BlockferryError): void {
    const isUndecided = this.#state === 'receiving' || this.#isSealed()
    if (isUndecided && this.#isSwitchingOver && isLinkLoss(error)) this.#mayBeAsked = true
    this.#fail(error)
  }

  /** The end without a commit. */
  #fail (error: BlockferryError, remove = false): void {
    if (this.#state === 'deciding') {
      this.#isCut = true
      return
    }
    if (this.#state === 'committed' || this.#state === 'over') {
      if (this.#state === 'committed') this.#context.ended(this)
      return
    }
    const began = this.#state !== 'greeting'
    this.#state = 'over'
    // The source takes this word for a no.
    if (!this.#isUnknown) this.#send('failed', { code: error.code, message: error.message })
    void this.#tearDown(began, error, remove)
  }

  async #tearDown (began: boolean, error: BlockferryError, remove: boolean): Promise<void> {
    this.#heartbeat.stop()
    await this.#session.close()
    await this.#accepting
    await this.#probes.ended()
    await this.#disks?.abandon(remove || !this.#isAccepted)
    await this.#machine.close(!this.#isUnknown)
    if (!this.#isUnknown) await this.#ownership?.refused()
    await this.#network.undo().catch((thrown: unknown) => {
      this.#context.failed(this, toBlockferryError(thrown))
    })
    if (began) this.#context.failed(this, error)
    this.#ended()
    this.#context.ended(this)
  }
}
