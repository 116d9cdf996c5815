// A TCP proxy between source and destination that can be cut like a cable. What it does with what
// passes is up to its kind.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

export interface Address { host: string, port: number }

export abstract class TcpProxy {
  readonly #server = createServer((near) => this.#accept(near))
  readonly sockets = new Set<Socket>()
  #down = false
  address: Address = { host: '127.0.0.1', port: 0 }

  protected constructor (readonly target: Address) {}

  /** For the kinds' own to(). */
  protected async listen (): Promise<this> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    this.address.port = (this.#server.address() as AddressInfo).port
    return this
  }

  /** Ends every connection, with what it holds; while down, new ones are closed at once. */
  cut (): void {
    this.#down = true
    for (const socket of this.sockets) socket.destroy()
  }

  restore (): void {
    this.#down = false
  }

  async close (): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close').catch(() => {})
  }

  /** Forwards one direction of a connection. */
  protected abstract forward (side: 'source' | 'destination', from: Socket, to: Socket): void

  #accept (near: Socket): void {
    if (this.#down) return void near.destroy()
    const far = connect(this.target.port, this.target.host)
    for (const socket of [near, far]) {
      this.sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.on('close', () => this.sockets.delete(socket))
    }
    this.forward('source', near, far)
    this.forward('destination', far, near)
  }
}
