// Clients of the guest, each a process of its own in the clients' namespace, so that nothing that
// the test or benchmark does delays what they see.

import { once } from 'node:events'
import type { ChildProcess } from 'node:child_process'
import type { Sample } from './programs/timeline.js'
import { disruptionMs, longestGapMs } from './disruption.js'
import { largeFile } from '../guests/content.js'
import { end, start } from '../support/process.js'

/** What every client saw. */
export interface Seen {
  /** In the order in which they ended. Times in ms since the client's start. */
  readonly samples: readonly Sample[]
  /** The client's start by the machine's clock: milliseconds since 1970. */
  readonly originMs: number
  /** Requests that failed, for whatever reason. */
  readonly failed: number
  /** See longestGapMs() in disruption.ts. */
  readonly longestGapMs: number
  /** The longest gap, less the interval between requests. */
  readonly disruptionMs: number
}

export interface Written {
  /** Records as the guest acknowledged them: its sequence number and the client's number. */
  readonly acknowledged: readonly string[]
}

export interface Downloaded {
  readonly bytes: number
  readonly wrongBytes: number
  /** Downloads to the last byte. */
  readonly complete: number
  /** Connections that ended early. */
  readonly broken: number
}

export interface Echoed {
  /** Answers that were not the next number. */
  readonly wrong: number
  readonly broken: number
}

export interface Idled {
  /** How long the connection was idle before its last word. */
  readonly idleMs: number
  readonly broken: number
}

export class Client<Result = object> {
  readonly #child: ChildProcess
  readonly #intervalMs: number
  readonly #name: string
  #output = ''

  /** Starts clients/NAME, or NAME in another folder, with these arguments. */
  constructor (
    namespace: string,
    name: string,
    args: readonly string[],
    intervalMs: number,
    folder: URL = new URL('./programs/', import.meta.url)
  ) {
    const program = new URL(`${name}.js`, folder).pathname
    const command = [process.execPath, program, ...args]
    this.#child = start(command, { namespace, stdio: ['pipe', 'pipe', 'inherit'] })
    this.#child.stdin?.on('error', () => undefined)
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.#output += text))
    this.#intervalMs = intervalMs
    this.#name = name
  }

  /** Ends it, after the request that it waits for, and answers what it saw. */
  async stop (): Promise<Seen & Result> {
    const closed = once(this.#child, 'close')
    this.#child.stdin?.end()
    await closed
    if (!this.#output.endsWith('\n')) throw new Error(`the ${this.#name} client has failed`)
    const result = JSON.parse(this.#output) as Result & { samples: Sample[], originMs: number }
    return {
      ...result,
      failed: result.samples.filter(({ ok }) => !ok).length,
      longestGapMs: longestGapMs(result.samples),
      disruptionMs: disruptionMs(result.samples, this.#intervalMs)
    }
  }

  /** Ends it at once, for clean-up. */
  async kill (): Promise<void> {
    await end(this.#child)
  }
}

/** The starters need the clients' namespace and the guest's address. */
export interface ClientOptions {
  readonly namespace: string
  readonly address: string
  /** Between the starts of requests. Default: 20. */
  readonly intervalMs?: number
}

/**
 * Gets one page again and again. `new`: a connection each, started when due whether or not the
 * last one is over; `kept`: one after the other on one connection.
 */
export function pollPage (options: ClientOptions, connection: 'new' | 'kept'): Client {
  const { namespace, address, intervalMs = 20 } = options
  const args = [`http://${address}/`, String(intervalMs), connection]
  return new Client(namespace, 'poll', args, intervalMs)
}

/** Writes a record at a time to the guest's disk. */
export function writeRecords (options: ClientOptions): Client<Written> {
  const { namespace, address, intervalMs = 20 } = options
  const args = [`http://${address}/service/write`, String(intervalMs)]
  return new Client(namespace, 'write', args, intervalMs)
}

/** Downloads the large file over and over. The server sends `bytesPerSecond`; default: 256 KiB. */
export function downloadSlowly (
  options: ClientOptions,
  bytesPerSecond = 256 * 1024
): Client<Downloaded> {
  const { namespace, address } = options
  const url = `http://${hostOf(address)}/slow/${largeFile}?rate=${bytesPerSecond}`
  return new Client(namespace, 'download', [url], 0)
}

/** As the host of a URL. */
function hostOf (address: string): string {
  return address.includes(':') ? `[${address}]` : address
}

/** Reads the numbered events of the guest. */
export function followEvents ({ namespace, address }: ClientOptions): Client<Echoed> {
  return new Client(namespace, 'events', [`http://${hostOf(address)}:8/`], 50)
}

/** Keeps a connection open that is idle until stop(): then it speaks. */
export function keepIdle ({ namespace, address }: ClientOptions): Client<Idled> {
  return new Client(namespace, 'idle', [address, '7'], 0)
}

/** Sends numbers to the echo server over one connection. */
export function echoNumbers (options: ClientOptions): Client<Echoed> {
  const { namespace, address, intervalMs = 20 } = options
  return new Client(namespace, 'echo', [address, '7', String(intervalMs)], intervalMs)
}
