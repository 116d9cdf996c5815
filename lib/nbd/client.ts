// A small NBD client: for demos, tests, and programs that embed the library. Requests may be in
// flight together, without limit; each settles on its own.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { BlockferryError } from '../base/errors.js'
import { ByteReader } from './byte-reader.js'
import { shakeHands, type Agreed } from './handshake.js'
import {
  broken, chunkDone, chunkTypes, commandFlags, commands, encodeRequest, errorNames, exportFlags,
  maxPayload, simpleReplyMagic, structuredReplyMagic
} from './protocol.js'

const maxChunk = maxPayload + 1024

export interface NbdClientOptions {
  /** A Unix socket's path; or host and port. */
  path?: string
  host?: string
  port?: number
  /** Default: the empty name, which is the server's own choice. */
  exportName?: string
  /** Ask for structured replies, in which zeroes need not travel. Default true. */
  structuredReplies?: boolean
}

export interface WriteOptions {
  /** Settle only once the data is on stable storage. Default false. */
  fua?: boolean
}

export interface ZeroOptions extends WriteOptions {
  /** Keep the space allocated. Default false. */
  noHole?: boolean
  /** Fail with ENOTSUP where writing zeroes is no faster than writing data. Default false. */
  fastZero?: boolean
}

/** The server answered a request with an error. */
export class NbdError extends Error {
  override readonly name = 'NbdError'

  /** `code` is the protocol's name of it: EPERM, EIO, ENOSPC, … */
  constructor (readonly code: string, operation: string) {
    super(`${operation}: ${code}`)
  }
}

interface Pending {
  operation: string
  offset: number
  /** What is being read; null for other requests. */
  target: Buffer | null
  /** Of an earlier chunk of the reply. */
  error: NbdError | null
  settle: (error: Error | null) => void
  settled: Promise<void>
}

export class NbdClient implements AsyncDisposable {
  readonly #socket: Socket
  readonly #reader: ByteReader
  readonly #agreed: Agreed
  readonly #pending = new Map<bigint, Pending>()
  #lastHandle = 0n
  #failure: Error | null = null

  private constructor (socket: Socket, reader: ByteReader, agreed: Agreed) {
    this.#socket = socket
    this.#reader = reader
    this.#agreed = agreed
    void this.#receiveReplies()
  }

  /**
   * Connects and agrees on an export. Rejects with a BlockferryError: UNREACHABLE, NOT_FOUND (no
   * such export), PROTOCOL, PEER_GONE.
   */
  static async open (where: NbdClientOptions): Promise<NbdClient> {
    const { path, host, port, exportName = '', structuredReplies = true } = where
    if (path === undefined && (host === undefined || port === undefined)) {
      throw new BlockferryError('INVALID', 'path, or host and port, must be given')
    }
    const socket = path === undefined ? connect(port as number, host as string) : connect(path)
    socket.setNoDelay(true)
    await once(socket, 'connect').catch((error: Error) => {
      throw new BlockferryError('UNREACHABLE', `connect to the NBD server: ${error.message}`,
        { cause: error })
    })
    const reader = new ByteReader(socket)
    try {
      const agreed = await shakeHands(socket, reader, exportName, structuredReplies)
      return new NbdClient(socket, reader, agreed)
    } catch (error) {
      socket.destroy()
      throw error
    }
  }

  /** Of the export, in bytes. */
  get size (): number { return this.#agreed.size }
  get readOnly (): boolean { return (this.#agreed.flags & exportFlags.readOnly) !== 0 }
  /** Offsets and lengths must be multiples of it, in bytes. */
  get minimumBlock (): number { return this.#agreed.minimumBlock }

  async read (offset: number, length: number): Promise<Buffer> {
    const target = Buffer.alloc(length)
    await this.#request(commands.read, 0, offset, length, { target })
    return target
  }

  /** Settles when the server has acknowledged the write. `data` must not change before. */
  async write (
    offset: number, data: Uint8Array, { fua = false }: WriteOptions = {}): Promise<void> {
    const flags = fua ? commandFlags.fua : 0
    await this.#request(commands.write, flags, offset, data.length, { payload: data })
  }

  /** Everything that was acknowledged before is on stable storage when this settles. */
  async flush (): Promise<void> {
    await this.#request(commands.flush, 0, 0, 0)
  }

  /** The range need not be kept; what it reads as afterwards is undefined. */
  async trim (offset: number, length: number, { fua = false }: WriteOptions = {}): Promise<void> {
    await this.#request(commands.trim, fua ? commandFlags.fua : 0, offset, length)
  }

  async writeZeroes (offset: number, length: number,
    { fua = false, noHole = false, fastZero = false }: ZeroOptions = {}): Promise<void> {
    const flags = (fua ? commandFlags.fua : 0) | (noHole ? commandFlags.noHole : 0) |
      (fastZero ? commandFlags.fastZero : 0)
    await this.#request(commands.writeZeroes, flags, offset, length)
  }

  /** Waits for the requests in flight, says goodbye and closes. Idempotent; never rejects. */
  async disconnect (): Promise<void> {
    while (this.#pending.size > 0) {
      await Promise.allSettled([...this.#pending.values()].map(({ settled }) => settled))
    }
    if (this.#socket.destroyed) return
    const closed = new Promise((resolve) => this.#socket.once('close', resolve))
    if (this.#failure === null) {
      this.#failure = new BlockferryError('CLOSED', 'the NBD client was disconnected')
      this.#socket.end(encodeRequest(commands.disconnect, 0, ++this.#lastHandle, 0, 0))
    }
    await closed
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    await this.disconnect()
  }

  async #request (command: number, flags: number, offset: number, length: number,
    { target, payload }: { target?: Buffer, payload?: Uint8Array } = {}): Promise<void> {
    const what = Object.entries(commands).find(([, number]) => number === command)?.[0]
    const operation = `NBD ${what} of ${length} bytes at ${offset}`
    const bad = !Number.isSafeInteger(offset) || offset < 0 || !Number.isInteger(length) ||
      length < 0 || length > 0xffffffff || ((target ?? payload) && length > maxPayload)
    if (bad) throw new BlockferryError('INVALID', `${operation}: out of range`)
    if (this.#failure !== null) throw this.#failure
    const handle = ++this.#lastHandle
    let settle: Pending['settle'] = () => {}
    const settled = new Promise<void>((resolve, reject) => {
      settle = (error) => { error === null ? resolve() : reject(error) }
    })
    const reading = { offset, target: target ?? null }
    this.#pending.set(handle, { operation, ...reading, error: null, settle, settled })
    this.#socket.cork()
    this.#socket.write(encodeRequest(command, flags, handle, offset, length))
    if (payload !== undefined) this.#socket.write(payload)
    this.#socket.uncork()
    await settled
  }

  async #receiveReplies (): Promise<void> {
    try {
      for (;;) {
        const magic = (await this.#reader.read(4)).readUInt32BE()
        if (magic === simpleReplyMagic) {
          await this.#receiveSimple()
        } else if (magic === structuredReplyMagic) {
          await this.#receiveChunk()
        } else {
          throw broken('malformed reply')
        }
      }
    } catch (error) {
      this.#failure ??= error as Error
      this.#socket.destroy()
      for (const { settle } of this.#pending.values()) settle(error as Error)
      this.#pending.clear()
    }
  }

  async #receiveSimple (): Promise<void> {
    const head = await this.#reader.read(12)
    const [handle, pending] = this.#find(head.readBigUInt64BE(4))
    const error = errorOf(head.readUInt32BE(0), pending)
    if (error === null && pending.target) {
      (await this.#reader.read(pending.target.length)).copy(pending.target)
    }
    this.#settle(handle, error)
  }

  async #receiveChunk (): Promise<void> {
    const head = await this.#reader.read(16)
    const type = head.readUInt16BE(2)
    const length = head.readUInt32BE(12)
    if (length > maxChunk) throw broken('a reply is too long')
    const [handle, pending] = this.#find(head.readBigUInt64BE(4))
    const data = await this.#reader.read(length)
    if ((type & chunkTypes.errorBit) !== 0) {
      if (length < 6) throw broken('malformed error')
      pending.error ??= errorOf(data.readUInt32BE(0), pending)
    } else if (type === chunkTypes.data || type === chunkTypes.hole) {
      placeChunk(pending, type, data)
    } else if (type !== chunkTypes.none) {
      throw broken('a reply of an unknown kind')
    }
    if ((head.readUInt16BE(0) & chunkDone) !== 0) this.#settle(handle, pending.error)
  }

  #find (handle: bigint): [bigint, Pending] {
    const pending = this.#pending.get(handle)
    if (pending === undefined) throw broken('a reply to no request')
    return [handle, pending]
  }

  #settle (handle: bigint, error: Error | null): void {
    const pending = this.#pending.get(handle)
    this.#pending.delete(handle)
    pending?.settle(error)
  }
}

function errorOf (number: number, { operation }: Pending): NbdError | null {
  return number === 0 ? null : new NbdError(errorNames[number] ?? 'EINVAL', operation)
}

// The target is zero wherever no data comes.
function placeChunk ({ target, offset }: Pending, type: number, chunk: Buffer): void {
  const minimum = type === chunkTypes.data ? 8 : 12
  if (target === null || chunk.length < minimum) throw broken('malformed data')
  const at = Number(chunk.readBigUInt64BE(0)) - offset
  const length = type === chunkTypes.data ? chunk.length - 8 : chunk.readUInt32BE(8)
  if (at < 0 || at + length > target.length) throw broken('data out of range')
  if (type === chunkTypes.data) chunk.copy(target, at, 8)
}
