// A few words between the two hosts, through the tunnel: does it work, and that it is over.
//
// The new site answers while its process lives. Whoever can send into the tunnel can say them; the
// worst that comes of it is that the tunnel ends early.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'

import { BlockferryError } from '../../base/errors.js'
import { kHelloPort } from './firewall.js'

const kTries = 5
const kTryMs = 400

export class HelloServer {
  readonly #socket = createSocket('udp4')

  /** `onOver`: the old site wants to take its end of the tunnel away; false if it has to wait. */
  constructor (id: string, onOver: () => boolean) {
    this.#socket.on('error', () => {})
    this.#socket.on('message', (message, { address, port }) => {
      const word = message.toString()
      if (word !== `hello ${id}` && word !== `over ${id}`) return
      const answer = word === `hello ${id}` || onOver() ? 'yes' : 'wait'
      this.#socket.send(`${answer} ${id}`, port, address)
    })
  }

  async listen (address: string): Promise<void> {
    this.#socket.bind({ port: kHelloPort, address })
    await once(this.#socket, 'listening').catch((cause: Error) => {
      throw new BlockferryError('NETWORK', `the tunnel's own port: ${cause.message}`, { cause })
    })
  }

  close (): void {
    this.#socket.close()
  }
}

/** Says a word to the new site and answers what it says. UNREACHABLE when it says nothing. */
export async function say (
  word: 'hello' | 'over', id: string, inner: { local: string, remote: string }
): Promise<'yes' | 'wait'> {
  const socket = createSocket('udp4')
  socket.on('error', () => {})
  const answered = new Promise<'yes' | 'wait'>((resolve) => {
    socket.on('message', (message) => {
      for (const answer of ['yes', 'wait'] as const) {
        if (message.toString() === `${answer} ${id}`) resolve(answer)
      }
    })
  })
  try {
    socket.bind({ port: 0, address: inner.local })
    await once(socket, 'listening')
    for (let tries = 0; tries < kTries; tries++) {
      socket.send(`${word} ${id}`, kHelloPort, inner.remote)
      const late = new Promise<null>((resolve) => { setTimeout(() => resolve(null), kTryMs) })
      const answer = await Promise.race([answered, late])
      if (answer !== null) return answer
    }
  } finally {
    socket.close()
  }
  throw new BlockferryError('UNREACHABLE', 'the other site does not answer through the tunnel')
}
