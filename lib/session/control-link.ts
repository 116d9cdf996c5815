// One end of the control connection: messages in and out, the heartbeat, and the peer's last word. When a connection
// breaks, or takes nothing more, that word may still be on its way, and says why.
import type { BlockferryError } from '../base/errors.js'
import { toBlockferryError } from '../base/errors.js'
import { Heartbeat } from './heartbeat.js'
import { isLinkLoss } from './link-loss.js'
import type { Message, Messages, MessageType } from './messages.js'
import { decode, encode } from './messages.js'

/** How long a broken connection waits for the peer's own word on why: it may be a cancel, and say whether to keep
 * what was copied. */
export const kReasonMs = 500

export interface ControlEnd {
  /** Puts a text on the connection; may throw. */
  post: (text: string) => void
  /** All messages but those of the heartbeat. */
  onMessage: (message: Message) => void
  /** The peer has said what makes no sense. */
  onNonsense: (error: BlockferryError) => void
  /** The link is gone. May come several times. */
  onLost: (error: BlockferryError) => void
  /** The peer may have a last word. */
  mayHearWord: () => boolean
}

export class ControlLink {
  readonly #end: ControlEnd
  readonly #heartbeat: Heartbeat
  #isBroken = false

  constructor (linkTimeoutMs: number, end: ControlEnd) {
    this.#end = end
    this.#heartbeat = new Heartbeat(linkTimeoutMs, (number) => this.send('ping', { number }), (error) => {
      this.#isBroken = true
      end.onLost(error)
    })
  }

  /** Known at once, before a last word has been waited for. */
  get isBroken (): boolean {
    return this.#isBroken
  }

  /** There is a peer, that must not fall silent. */
  start (): void {
    this.#heartbeat.start()
  }

  stop (): void {
    this.#heartbeat.stop()
  }

  send<T extends MessageType> (type: T, message: Messages[T]): void {
    try {
      this.#end.post(encode(type, message))
    } catch (error) {
      this.broke(toBlockferryError(error))
    }
  }

  received (text: string): void {
    this.#heartbeat.heard()
    let message: Message
    try {
      message = decode(text)
    } catch (error) {
      return this.#end.onNonsense(toBlockferryError(error))
    }
    if (message.type === 'ping') this.send('pong', { number: message.number })
    else if (message.type !== 'pong') this.#end.onMessage(message)
  }

  /** A connection broke, or took nothing more. */
  broke (error: BlockferryError): void {
    this.#isBroken ||= isLinkLoss(error)
    const waits = error.code === 'PEER_GONE' && this.#end.mayHearWord()
    setTimeout(() => this.#end.onLost(error), waits ? kReasonMs : 0)
  }
}
