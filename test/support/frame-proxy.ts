// A proxy that reads the frames of the wire: holds back the one that a test waits for, at the very
// moment. What it knows of the wire: native/core/wire/wire.h.
import { once } from 'node:events'
import type { Socket } from 'node:net'

import { ByteReader } from '../../lib/nbd/byte-reader.js'
import type { Address } from '../../testbed/support/tcp-proxy.js'
import { TcpProxy } from '../../testbed/support/tcp-proxy.js'

const kHeaderSize = 48
const kTypes = [
  '', 'hello', 'welcome', 'error', 'control', 'data', 'zero', 'mark', 'machine', 'hashes',
  'same'
] as const

export interface Frame {
  from: 'source' | 'destination'
  type: typeof kTypes[number]
  /** Of data and zero frames, bytes. */
  offset: number
  /** Of the content in bytes; a mark's number. */
  length: number
  /** What a hello, welcome or error says; of a control message its type. */
  text: string
}

/** Looks at a frame before it goes on; it and all behind it on its connection wait for that. */
export type Look = (frame: Frame) => void | Promise<void>

export class FrameProxy extends TcpProxy {
  readonly #looks: Look[] = []
  readonly #near = new Set<Socket>()
  readonly #forsaken = new Set<Socket>()

  static async to (target: Address): Promise<FrameProxy> {
    return await new FrameProxy(target).listen()
  }

  onFrame (look: Look): void {
    this.#looks.push(look)
  }

  /** Holds the first frame that fits, and all behind it on its connection, until release(). */
  hold (fits: (frame: Frame) => boolean): { held: Promise<Frame>, release: () => void } {
    let release!: () => void
    let tell!: (frame: Frame) => void
    const released = new Promise<void>((resolve) => { release = resolve })
    const held = new Promise<Frame>((resolve) => { tell = resolve })
    let isOver = false
    this.onFrame((frame) => {
      if (isOver || !fits(frame)) return
      isOver = true
      tell(frame)
      return released
    })
    return { held, release }
  }

  /** Ends the source's connections behind the destination's back: it hears nothing of that, and what
   * is held can still reach it. New ones may come. */
  forsake (): void {
    for (const socket of this.#near) {
      this.#forsaken.add(socket)
      socket.destroy()
    }
  }

  protected forward (side: Frame['from'], from: Socket, to: Socket): void {
    void this.#forward(side, from, to)
  }

  async #forward (side: Frame['from'], from: Socket, to: Socket): Promise<void> {
    const reader = new ByteReader(from)
    if (side === 'source') this.#near.add(from)
    try {
      for (;;) {
        const header = await reader.read(kHeaderSize)
        const payload = await reader.read(header.readUInt32LE(12))
        const frame = decode(side, header, payload)
        for (const look of this.#looks) await look(frame)
        to.write(header)
        if (payload.length > 0 && !to.write(payload)) await drained(to)
      }
    } catch {
      this.#near.delete(from)
      if (this.#forsaken.has(from)) return
      // It has hung up; what it had sent goes on before the other end learns that.
      to.destroySoon()
    }
  }
}

async function drained (socket: Socket): Promise<void> {
  const over = new AbortController()
  const either = ['drain', 'close'].map((event) => once(socket, event, { signal: over.signal }))
  await Promise.race(either).catch(() => {})
  over.abort()
  await Promise.allSettled(either)
}

function decode (from: Frame['from'], header: Buffer, payload: Buffer): Frame {
  const type = kTypes[header[5]!] ?? ''
  const hasText = payload.length > 0 && ['hello', 'welcome', 'error', 'control'].includes(type)
  const text = hasText ? payload.toString() : ''
  return {
    from,
    type,
    offset: Number(header.readBigUInt64LE(16)),
    length: Number(header.readBigUInt64LE(24)),
    text: type === 'control' ? JSON.parse(text).type : text
  }
}

/** For hold(): a control message of this type. */
export function message (type: string): (frame: Frame) => boolean {
  return (frame) => frame.type === 'control' && frame.text === type
}
