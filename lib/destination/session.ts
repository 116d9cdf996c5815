// One migration at the destination: opens the disks that are offered, and decides the commit.
//
// What is compared is what is committed: the native session is sealed before, so that its streams
// write no more. The decision is one step on this thread: from it on the disks are owned here. A
// source that lost the link asks for the outcome on a new connection; asking ends an undecided
// session, which then can never commit.
import { BlockferryError, toBlockferryError } from '../base/errors.js'
import { DestinationOwnership } from '../ownership/destination-ownership.js'
import type { NativeSession } from '../native/types.js'
import { limitRanges } from './fewer-ranges.js'
import { decide } from './decision.js'
import { ControlLink } from '../session/control-link.js'
import { inTime } from '../base/in-time.js'
import { inTurn } from '../base/in-turn.js'
import type { SessionContext } from './session-context.js'
import { isLinkLoss } from '../session/link-loss.js'
import { machineGone } from '../session/machine-call.js'
import type { Message, Messages, MessageType } from '../session/messages.js'
import { checkOffer } from '../session/messages.js'
import { NetworkSteps } from '../session/network-steps.js'
import type { Outcome } from './outcomes.js'
import { Probes } from './probes.js'
import type { DestinationReport } from '../session/report.js'
import { DestinationDisks } from './disks.js'
import { DestinationMachine } from './machine.js'
import type { Phase } from './phase.js'
import { DestinationPhase } from './phase.js'

type End = 'refused' | 'lost' | 'unknown'

/** How long the source may take to hang up after the commit. */
const kHangUpMs = 2000
/** How long the link may take to break after the memory that travels on it: much less than the source waits for our
 * word on why that broke (kReasonMs of the control link). */
const kLinkFailureMs = 100
/** Whoever connects must make an offer, or ask, within this time. */
const kGreetingMs = 10_000

export class DestinationSession {
  /** Whom TLS has shown the source to be; empty without TLS. */
  readonly peer: string
  /** When it may go by that name. */
  migration: string | null = null
  #context: SessionContext<DestinationSession>
  #session: NativeSession
  readonly #phase = new DestinationPhase()
  #disks: DestinationDisks | null = null
  /** Settles, without an error, when what an offer needs was set up, or was not. */
  #accepting: Promise<void> | null = null
  #equality = true
  #startedAt = performance.now()
  #verified = { mark: 0, right: false }
  #commit: Messages['commit'] | null = null
  #ownership: DestinationOwnership | null = null
  #decision: Promise<void> = Promise.resolve()
  /** This connection has asked for an outcome; another one has asked for this session's. */
  #hasAsked = false
  #wasAskedAbout = false
  readonly #probes = new Probes()
  readonly #machine: DestinationMachine
  readonly #network: NetworkSteps
  readonly #link: ControlLink
  #hungUp: () => void = () => {}
  #ended: () => void = () => {}
  /** Its disks are free again. */
  readonly ended = new Promise<void>((resolve) => { this.#ended = resolve })
  readonly #peerLeft = new Promise<void>((resolve) => { this.#hungUp = resolve })

  constructor (session: NativeSession, context: SessionContext<DestinationSession>) {
    this.#session = session
    this.peer = session.peer()
    this.#context = context
    this.#machine = new DestinationMachine(
      context.options.machine, (reason) => this.#failUnlessLost(machineGone(reason)))
    this.#network = new NetworkSteps(context.options.network)
    this.#link = new ControlLink(context.options.linkTimeoutMs, {
      post: (text) => session.send(text),
      onMessage: (message) => this.#onMessage(message),
      onNonsense: (error) => this.#fail(error),
      onLost: (error) => {
        this.#hungUp()
        this.#lose(error)
      },
      mayHearWord: () => !this.#phase.is('greeting', 'heard')
    })
    this.#link.start()
    setTimeout(() => {
      if (this.#phase.is('greeting')) this.#fail(new BlockferryError('TIMEOUT', 'no offer came'))
    }, kGreetingMs).unref()
    session.start((event, value) => this.#onEvent(event, value))
  }

  /** Null: it can't be told. */
  get outcome (): Outcome | null {
    if (this.#phase.is('unknown')) return null
    const committed = this.#phase.isCommitted
    return { committed, digests: committed ? this.#digests() : [] }
  }

  /** It has ended, and the source will ask what became of it. */
  get mayBeAsked (): boolean {
    return this.#phase.is('lost', 'unknown') && !this.#wasAskedAbout
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
    this.#wasAskedAbout = true
    this.#fail(error)
    await this.#decision
  }

  /** Waits a little for the source to hang up after a commit, then ends the connections. */
  async close (): Promise<void> {
    await this.#decision
    if (this.#phase.isCommitted) {
      await inTime(this.#peerLeft, kHangUpMs)
    } else {
      this.#fail(new BlockferryError('CLOSED', 'the receiver was closed'))
      await this.ended
    }
    this.#link.stop()
    await inTurn(() => this.#session.close(), () => this.#machine.release())
  }

  /** The machine is here: its packets are sent here, too. */
  switchNetwork (): Promise<void> {
    return this.#network.switchOver()
  }

  #digests (): string[] {
    return this.#disks!.taps.map((_tap, index) => this.#session.digest(index))
  }

  #onEvent (event: string, value: any): void {
    if (event === 'message') this.#link.received(value)
    if (event === 'durable') this.#link.send('durable', { mark: value })
    if (event === 'verified') this.#onVerified(value)
    if (event === 'failed') this.#link.broke(toBlockferryError(value))
  }

  #onMessage (message: Message): void {
    switch (message.type) {
      case 'offer': return this.#onOffer(message)
      case 'probe': return this.#onProbe(message)
      case 'memory': return void this.#receiveMemory()
      case 'switchover': return this.#onSwitchover()
      case 'commit': return this.#onCommit(message)
      case 'bye': return this.#onBye()
      case 'query': return void this.#reply('outcome', this.#outcomeOf(message.migration))
      case 'cancel':
        return this.#fail(new BlockferryError('CANCELLED', 'the source cancelled'), { remove: !message.keep })
      case 'failed': return this.#fail(new BlockferryError('PEER_GONE', `source: ${message.message}`))
      default: return this.#fail(new BlockferryError('PROTOCOL', `unexpected message ${message.type}`))
    }
  }

  #onOffer (offer: Messages['offer']): void {
    if (!this.#phase.is('greeting')) return this.#fail(new BlockferryError('PROTOCOL', 'a second offer'))
    if (this.#context.closing()) return this.#fail(new BlockferryError('CLOSED', 'the receiver was closed'))
    this.#phase.to('preparing')
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
    if (this.#phase.isOver) throw new BlockferryError('CLOSED', 'the session has ended')
  }

  #accept (offer: Messages['offer'], disks: DestinationDisks): void {
    if (this.#phase.isOver) return
    const inventory = disks.taps.map(({ tap }) => offer.reuse && !tap.blank)
    for (const [index, { tap, offered }] of disks.taps.entries()) {
      this.#session.addDisk(tap.native, offered.size, offered.blockSize, inventory[index]!)
    }
    this.#session.acceptStreams(offer.streams, offer.equality)
    this.#phase.to('receiving')
    this.#context.started(this)
    this.#link.send('accept', {
      disks: disks.taps.map(({ tap, separate }, index) => (
        { blank: tap.blank, separate, inventory: inventory[index]! }))
    })
  }

  /** One that comes late is no longer of interest, nor is what is here then the source's to know. */
  #onProbe (probe: Messages['probe']): void {
    if (!this.#phase.is('greeting', 'preparing') && !this.#phase.isReceiving) return
    void this.#reply('probed', this.#probes.answer(this.#phase.isReceiving ? this.#disks : null, probe))
  }

  async #receiveMemory (): Promise<void> {
    try {
      if (!this.#phase.isReceiving) throw new BlockferryError('PROTOCOL', 'memory without a migration')
      await this.#machine.receive((path) => {
        this.#session.acceptMachine(path)
        this.#link.send('memoryReady', {})
      })
    } catch (error) {
      return this.#failUnlessLost(toBlockferryError(error))
    }
    this.#decide()
  }

  #onSwitchover (): void {
    if (!this.#phase.isReceiving) return this.#fail(new BlockferryError('PROTOCOL', 'a switchover without a migration'))
    this.#phase.to('switching')
  }

  #onBye (): void {
    if (!this.#phase.is('committed')) return
    this.#phase.to('heard')
    this.#hungUp()
    this.#context.heard(this)
  }

  #onVerified ({ mark, wrong, tookUs }: Messages['verified']): void {
    this.#verified = { mark, right: wrong.length === 0 }
    this.#link.send('verified', { mark, wrong: limitRanges(wrong), tookUs })
    this.#decide()
  }

  #onCommit (commit: Messages['commit']): void {
    if (!this.#phase.isReceiving) {
      return this.#fail(new BlockferryError('PROTOCOL', 'a commit without a migration'))
    }
    this.#phase.to('switching')
    this.#commit = commit
    this.#decide()
  }

  /** Seals, if the commit message and all before its mark are here. */
  #decide (): void {
    const commit = this.#commit
    if (!this.#phase.is('switching') || commit === null || this.#verified.mark < commit.mark) return
    if (!this.#machine.isReady) return
    this.#commit = null
    this.#phase.to('sealed')
    this.#session.seal()
      .then((changed) => { if (this.#phase.is('sealed')) this.#act(commit, changed) })
      .catch((error: unknown) => this.#fail(toBlockferryError(error)))
  }

  /** `changed`: see Received. */
  #act (commit: Messages['commit'], changed: readonly number[]): void {
    const { taps } = this.#disks!
    const digests = this.#digests()
    const missing = taps.map((_tap, index) => this.#session.missing(index))
    switch (decide({ digests, missing, isRight: this.#verified.right, changed }, commit, this.#equality)) {
      case 'commit':
        this.#phase.to('deciding')
        this.#decision = this.#commitDurably(digests, commit.run)
        return
      case 'notEqual':
        this.#session.unseal()
        this.#phase.to('switching')
        return this.#link.send('notEqual', { digests })
      case 'written': {
        const paths = changed.map((index) => taps[index]!.tap.source).join(', ')
        return this.#fail(new BlockferryError(
          'NOT_EQUAL', `another program has written to ${paths} at the destination`))
      }
    }
  }

  async #commitDurably (digests: string[], run: boolean): Promise<void> {
    try {
      await this.#ownership!.committed(digests)
    } catch (thrown) {
      const error = toBlockferryError(thrown)
      // The disk said no; or neither yes nor no: nobody may act on it before the journal is opened anew. It took
      // its time, and the link may not have lived to carry the answer.
      return this.#giveUp(error.owner === 'unknown' ? 'unknown' : 'lost', error)
    }
    const isAlone = this.#phase.is('decidingAlone')
    this.#phase.to('committed')
    this.#link.send('committed', { digests })
    this.#disks!.own()
    this.#context.committed(this, this.#disks!, run)
    if (isAlone) this.#context.ended(this)
  }

  async #outcomeOf (migration: string): Promise<Outcome> {
    if (this.#hasAsked) throw new BlockferryError('PROTOCOL', 'a second question')
    this.#hasAsked = true
    const outcome = await this.#context.outcomeOf(migration, this.peer)
    if (outcome === null) throw new BlockferryError('NOT_FOUND', 'this migration is not known here')
    return outcome
  }

  /** Answers, or ends the session. */
  async #reply<T extends MessageType> (type: T, answer: Promise<Messages[T]>): Promise<void> {
    try {
      const message = await answer
      if (!this.#phase.isOver) this.#link.send(type, message)
    } catch (error) {
      this.#fail(toBlockferryError(error))
    }
  }

  /** What breaks the link breaks the transfer of memory, too, and that may be the first to say so. Without its
   * memory the machine is not ready, so nothing is decided meanwhile. */
  #failUnlessLost (error: BlockferryError): void {
    if (!this.#phase.is('switching') || this.#machine.isReady) return this.#fail(error)
    setTimeout(() => this.#fail(error, { end: this.#link.isBroken ? 'lost' : 'refused' }), kLinkFailureMs)
  }

  /** The end of the session, perhaps with that of the link. */
  #lose (error: BlockferryError): void {
    const mayAsk = this.#phase.is('switching', 'sealed') && isLinkLoss(error)
    this.#fail(error, { end: mayAsk ? 'lost' : 'refused' })
  }

  /** The end, unless it has committed or nothing but the disk can still say no. */
  #fail (error: BlockferryError, { end = 'refused', remove = false }: { end?: End, remove?: boolean } = {}): void {
    if (this.#phase.is('deciding')) this.#phase.to('decidingAlone')
    if (this.#phase.isCommitted) this.#context.ended(this)
    if (this.#phase.is('decidingAlone') || this.#phase.isCommitted || this.#phase.isOver) return
    this.#giveUp(end, error, remove)
  }

  #giveUp (end: End, error: BlockferryError, remove = false): void {
    const from = this.#phase.state
    this.#phase.to(end)
    // The source takes this word for a no.
    if (end !== 'unknown') this.#link.send('failed', { code: error.code, message: error.message })
    void this.#tearDown(error, remove, from)
  }

  async #tearDown (error: BlockferryError, remove: boolean, from: Phase): Promise<void> {
    const isUnknown = this.#phase.is('unknown')
    const isAccepted = from !== 'greeting' && from !== 'preparing'
    this.#link.stop()
    await inTurn(
      () => this.#session.close(),
      async () => { await this.#accepting },
      () => this.#probes.ended(),
      async () => await this.#disks?.abandon(remove || !isAccepted),
      () => this.#machine.close(!isUnknown),
      async () => { if (!isUnknown) await this.#ownership?.refused() })
    await this.#network.undo().catch((thrown: unknown) => {
      this.#context.tell(this, toBlockferryError(thrown))
    })
    if (from !== 'greeting') this.#context.gaveUp(this, isAccepted, error)
    this.#ended()
    this.#context.ended(this)
  }
}
