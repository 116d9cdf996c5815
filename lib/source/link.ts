// The source's end of a session: the native sender, the control messages, the checkpoints.
import { setTimeout as sleep } from 'node:timers/promises'

import { BlockferryError, codeSaid, toBlockferryError } from '../base/errors.js'
import type { NativeSender, NativeTrust, WrongRange } from '../native/types.js'
import { native } from '../native/addon.js'
import { ControlLink } from '../session/control-link.js'
import { inTime } from '../base/in-time.js'
import type { Message, Messages, MessageType } from '../session/messages.js'

const kWorkMs = 5000

export type Verified = Messages['verified']

export class SourceLink {
  readonly sender: NativeSender
  /** Rejects when the session fails; never resolves. */
  readonly failed: Promise<never>
  #fail!: (error: BlockferryError) => void
  #isBroken = false
  #peerGaveUp = false
  #closed = false
  #mark = 0
  readonly #control: ControlLink
  #awaited = new Map<MessageType, (message: any) => void>()
  readonly #onBulkDone: () => void
  /** Something is to be overwritten there, and waits (NativeSender.separate()). */
  overwrites: (where: { disk: number, offset: number }) => void = () => {}
  #work: Promise<void> = Promise.resolve()
  #onSent: ((number: number) => void) | null = null

  constructor (linkTimeoutMs: number, tls: NativeTrust, onBulkDone: () => void) {
    this.failed = new Promise((_resolve, reject) => {
      this.#fail = (error) => {
        this.#isBroken = true
        reject(error)
      }
    })
    this.failed.catch(() => {})
    this.#onBulkDone = onBulkDone
    this.sender = new native.Sender({ linkTimeoutMs, tls }, (event, value) => this.#onEvent(event, value))
    this.#control = new ControlLink(linkTimeoutMs, {
      post: (text) => this.sender.send(text),
      onMessage: (message) => this.#onMessage(message),
      onNonsense: (error) => this.#fail(error),
      onLost: (error) => this.#fail(error),
      mayHearWord: () => true
    })
  }

  get broken (): boolean {
    return this.#isBroken
  }

  /** The destination said that it has failed: it has not committed and never will. */
  get peerGaveUp (): boolean {
    return this.#peerGaveUp
  }

  /** Why it is broken, or breaks within this time; null when it does not. */
  async failure (withinMs: number): Promise<BlockferryError | null> {
    if (this.#closed) return null
    const failed = this.failed.catch((error: BlockferryError) => error)
    return await Promise.race([failed, sleep(withinMs, null)])
  }

  /** Connects the control connection. */
  async connect (host: string, port: number, timeoutMs: number): Promise<void> {
    await this.#orFail(this.sender.connect(host, port, timeoutMs))
    this.#control.start()
  }

  async openStreams (count: number): Promise<void> {
    await this.#orFail(this.sender.openStreams(count))
  }

  async openInventory (): Promise<void> {
    await this.#orFail(this.sender.openInventory())
  }

  /** Sends a message and waits for one of another type, or for the session to fail. */
  async ask<T extends MessageType, A extends MessageType> (
    type: T, message: Messages[T], answer: A
  ): Promise<Messages[A]> {
    const answered = this.next(answer)
    this.send(type, message)
    return await answered
  }

  /** The next message of a type, or the session's failure. */
  async next<T extends MessageType> (type: T): Promise<Messages[T]> {
    return await this.#orFail(new Promise((resolve) => this.#awaited.set(type, resolve)))
  }

  send<T extends MessageType> (type: T, message: Messages[T]): void {
    if (this.#closed || this.#isBroken) return
    this.#control.send(type, message)
  }

  /** Sends a mark behind everything claimed so far and waits until the destination has verified
   * it. One at a time. */
  async checkpoint (): Promise<Verified> {
    const verified = this.next('verified')
    this.sender.mark(++this.#mark)
    return await verified
  }

  /** Sends the residual and the final mark. The first promise: it has left for the network; the
   * second: the destination has verified it. */
  finish (): { mark: number, sent: Promise<void>, verified: Promise<Verified> } {
    const mark = ++this.#mark
    const verified = this.next('verified')
    verified.catch(() => {})
    const sent = this.#orFail(new Promise<void>((resolve) => {
      this.#onSent = (number) => { if (number === mark) resolve() }
    }))
    this.sender.finish(mark)
    return { mark, sent, verified }
  }

  /** Sends blocks again that the destination found wrong. */
  markAgain (wrong: readonly WrongRange[]): void {
    try {
      for (const { disk, first, count } of wrong) this.sender.markAgain(disk, first, count)
    } catch (error) {
      this.#fail(toBlockferryError(error))
    }
  }

  /** It is of no use, though it lives. */
  lose (error: BlockferryError): void {
    this.#fail(error)
  }

  /** Work that ends with the session: close() waits for it, but no longer than some seconds, as storage may hang. */
  carry (work: Promise<void>): void {
    this.#work = work
  }

  /** Ends the session, and whatever waits for it: `failed` rejects (CLOSED). Idempotent. */
  async close (): Promise<void> {
    this.#closed = true
    this.#fail(new BlockferryError('CLOSED', 'the migration has ended'))
    this.#control.stop()
    await this.sender.close()
    await inTime(this.#work, kWorkMs)
  }

  async #orFail<T> (promise: Promise<T>): Promise<T> {
    return await Promise.race([promise, this.failed])
  }

  #onEvent (event: string, value: any): void {
    if (event === 'message') this.#control.received(value)
    if (event === 'bulkDone') this.#onBulkDone()
    if (event === 'overwrites') this.overwrites(value)
    if (event === 'marked') this.#onSent?.(value)
    if (event === 'failed') this.#control.broke(toBlockferryError(value))
  }

  #onMessage (message: Message): void {
    if (message.type === 'failed') {
      this.#peerGaveUp = true
      return this.#fail(new BlockferryError(codeSaid(message.code), `destination: ${message.message}`))
    }
    if (message.type === 'durable') this.sender.durable(message.mark)
    const resolve = this.#awaited.get(message.type)
    this.#awaited.delete(message.type)
    resolve?.(message)
  }
}
