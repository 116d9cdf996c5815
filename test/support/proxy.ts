// A TCP proxy between source and destination whose link can be cut, stalled, or made to flip a
// bit.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'

export class Proxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #down = false
  #flipAfter = Infinity
  #forwarded = 0
  address = { host: '127.0.0.1', port: 0 }

  private constructor (readonly target: { host: string, port: number }) {
    this.#server = createServer((socket) => this.#serve(socket))
  }

  static async to (target: { host: string, port: number }): Promise<Proxy> {
    const proxy = new Proxy(target)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    proxy.address.port = (proxy.#server.address() as AddressInfo).port
    return proxy
  }

  /** Ends every connection; while down, new ones are closed at once. */
  cut (): void {
    this.#down = true
    for (const socket of this.#sockets) socket.destroy()
  }

  restore (): void {
    this.#down = false
  }

  /** Nothing gets through, nothing is closed. */
  stall (): void {
    for (const socket of this.#sockets) socket.pause()
  }

  flow (): void {
    for (const socket of this.#sockets) socket.resume()
  }

  /** Flips one bit of what the source sends after so many more bytes. */
  flipAfter (bytes: number): void {
    this.#flipAfter = this.#forwarded + bytes
  }

  /** What the source has sent so far, bytes. */
  get forwarded (): number {
    return this.#forwarded
  }

  async close (): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close').catch(() => {})
  }

  #serve (near: Socket): void {
    if (this.#down) return void near.destroy()
    const far = connect(this.target.port, this.target.host)
    for (const [from, to] of [[near, far], [far, near]] as const) {
      this.#sockets.add(from)
      from.setNoDelay(true)
      from.on('error', () => {})
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
      from.on('data', (chunk: Buffer) => {
        if (from === near) this.#damage(chunk)
        if (!to.write(chunk)) {
          from.pause()
          to.once('drain', () => from.resume())
        }
      })
    }
  }

  #damage (chunk: Buffer): void {
    const at = this.#flipAfter - this.#forwarded
    if (at >= 0 && at < chunk.length) chunk[at]! ^= 0x10
    this.#forwarded += chunk.length
  }
}
