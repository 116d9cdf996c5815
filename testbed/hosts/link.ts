// The link between two hosts: a plain one as in a LAN, or one with a rate, a delay, a queue and
// losses as in a WAN. Both can be cut and restored at any time, which neither end is told.

import type { ChildProcess } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import { compile } from '../support/compile.js'
import type { Namespace } from './namespace.js'
import { end, start } from '../support/process.js'

/** The same in both directions. */
export interface LinkOptions {
  /** Default: as fast as it goes. */
  readonly rateBitsPerSecond?: number
  /** One way; half of the round trip. Default: 0. */
  readonly delayMs?: number
  /** What waits for its turn; more is dropped. Default: 100 ms at the rate, at least 64 KiB. */
  readonly queueBytes?: number
  /** The share of packets that get lost at random, 0 to 1. Default: 0. */
  readonly lossRatio?: number
}

/** One direction so far. */
export interface Traffic {
  /** What arrived, with all headers above the device's own layer. */
  readonly bytes: number
  readonly packets: number
  readonly lost: number
}

export interface LinkStats {
  readonly aToB: Traffic
  readonly bToA: Traffic
}

export interface Link {
  /** Nothing arrives any more in either direction, not even what is on its way. */
  cut(): Promise<void>
  restore(): Promise<void>
  /** Counts from the next packet on; what is left out goes back to its default. */
  change(options: LinkOptions): Promise<void>
  stats(): Promise<LinkStats>
  close(): Promise<void>
}

/** What the devices carry: IP packets, or frames for a bridge. */
export type Layer = 'tun' | 'tap'

/** A link that a program of ours emulates (link.c), between devices that it makes. */
export class EmulatedLink implements Link {
  readonly #child: ChildProcess
  readonly #lines: Interface
  #waiting: Array<(line: string | undefined) => void> = []

  /** Makes a device of this name in both namespaces, not yet up. */
  static async open (
    layer: Layer,
    [a, b]: readonly [Namespace, Namespace],
    device: string,
    options: LinkOptions,
    seed = 1
  ): Promise<EmulatedLink> {
    const program = await compile(['hosts/link.c'])
    const command = [program, layer, a.name, device, b.name, device, String(seed)]
    const link = new EmulatedLink(command)
    await link.#answer()
    await link.change(options)
    return link
  }

  private constructor (command: string[]) {
    this.#child = start(command, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#child.stdin?.on('error', () => undefined) // its end is noticed below
    this.#lines = createInterface(this.#child.stdout as NodeJS.ReadableStream)
    this.#lines.on('line', (line) => this.#waiting.shift()?.(line))
    this.#lines.on('close', () => {
      for (const resolve of this.#waiting.splice(0)) resolve(undefined)
    })
  }

  async cut (): Promise<void> {
    await this.#ask('cut')
  }

  async restore (): Promise<void> {
    await this.#ask('restore')
  }

  async change (options: LinkOptions): Promise<void> {
    const { rateBitsPerSecond = 0, delayMs = 0, lossRatio = 0 } = options
    const { queueBytes = Math.max(2 ** 16, rateBitsPerSecond / 80) } = options
    await this.#ask(`rate ${Math.round(rateBitsPerSecond)}`)
    await this.#ask(`delay ${Math.round(delayMs * 1e6)}`)
    await this.#ask(`queue ${Math.round(queueBytes)}`)
    await this.#ask(`loss ${Math.round(lossRatio * 1e6)}`)
  }

  async stats (): Promise<LinkStats> {
    const numbers = (await this.#ask('stats')).split(' ').map(Number)
    return { aToB: traffic(numbers.slice(0, 3)), bToA: traffic(numbers.slice(3)) }
  }

  /** Its devices go with it. */
  async close (): Promise<void> {
    await end(this.#child)
  }

  #ask (command: string): Promise<string> {
    this.#child.stdin?.write(`${command}\n`)
    return this.#answer()
  }

  async #answer (): Promise<string> {
    const isOver = this.#child.stdout?.readableEnded ?? true
    const line = isOver
      ? undefined
      : await new Promise<string | undefined>((resolve) => this.#waiting.push(resolve))
    if (line === undefined) throw new Error('the emulated link has ended')
    return line
  }
}

/** A link through a bridge in a third namespace. Cutting it leaves the carrier of both ends on. */
export class PlainLink implements Link {
  readonly #a: Namespace
  readonly #middle: Namespace
  readonly #device: string

  /** Makes a device of this name in both namespaces, up. */
  static async open (
    [a, b]: readonly [Namespace, Namespace],
    middle: Namespace,
    device: string
  ): Promise<PlainLink> {
    await middle.addBridge(device)
    for (const [end, far] of [[a, `${device}-a`], [b, `${device}-b`]] as const) {
      await end.connect(device, middle, far)
      await middle.join(far, device)
    }
    return new PlainLink(a, middle, device)
  }

  private constructor (a: Namespace, middle: Namespace, device: string) {
    this.#a = a
    this.#middle = middle
    this.#device = device
  }

  async cut (): Promise<void> {
    await this.#middle.ip('link', 'set', 'dev', this.#device, 'down')
  }

  async restore (): Promise<void> {
    await this.#middle.ip('link', 'set', 'dev', this.#device, 'up')
  }

  async change (options: LinkOptions): Promise<void> {
    if (Object.keys(options).length > 0) throw new Error('a plain link stays as it is')
  }

  async stats (): Promise<LinkStats> {
    const output = await this.#a.ip('-json', '-stats', 'link', 'show', 'dev', this.#device)
    const [{ stats64 }] = JSON.parse(output) as [{ stats64: { tx: Counted, rx: Counted } }]
    return { aToB: counted(stats64.tx), bToA: counted(stats64.rx) }
  }

  /** Its devices go with their namespaces. */
  async close (): Promise<void> {
    // Nothing runs for it.
  }
}

interface Counted {
  readonly bytes: number
  readonly packets: number
  readonly dropped: number
}

function counted ({ bytes, packets, dropped }: Counted): Traffic {
  return { bytes, packets, lost: dropped }
}

function traffic ([bytes = 0, packets = 0, lost = 0]: number[]): Traffic {
  return { bytes, packets, lost }
}
