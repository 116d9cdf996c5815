// The clients of a machine that moves to another site: old connections of every kind, and new ones
// that ask for its name each time.
import { setTimeout as sleep } from 'node:timers/promises'

import { Client, downloadSlowly, echoNumbers, followEvents, keepIdle } from '../clients/clients.js'
import type { Echoed, Seen } from '../clients/clients.js'
import { kMachine, kName, kNames, type Sites } from './sites.js'

/** Slow enough for one download to last as long as the move. */
const kDownloadBytesPerSecond = 32 * 1024
const kIntervalMs = 100
/** For new connections after that. */
const kSettleMs = 5000
/** How many times the TTL a resolver keeps an answer: as it should, and far too long. */
const kCaches = { honest: 1, lazy: 2 }
/** That the name has before the move, and in the middle of it; both at most. */
const kTtlMs = 22_000

interface Resolved { readonly addresses: readonly string[] }

/** What one client saw, whatever its kind. */
export interface SiteTrace extends Seen {
  readonly name: string
  /** Connections that broke, answers that were wrong or did not come. */
  readonly troubles: number
  readonly bytes: number
  readonly idleMs: number
  /** Of a client that asks for the name: the address of each request. */
  readonly addresses: readonly string[]
}

export class SiteClients {
  readonly #running: Map<string, Client<object>>
  readonly #fromMs = performance.now()

  constructor (sites: Sites, family: 4 | 6) {
    const old = { namespace: sites.client.name, address: kMachine[family] }
    const resolving = (times: number) => new Client<Resolved>(
      sites.client.name, 'resolve', [kNames, kName, String(kIntervalMs), String(times), String(family)],
      kIntervalMs, new URL('./programs/', import.meta.url))
    this.#running = new Map<string, Client<object>>([
      ['download', downloadSlowly(old, kDownloadBytesPerSecond)],
      ['echo', echoNumbers(old)],
      ['events', followEvents(old)],
      ['idle', keepIdle(old)],
      ['honest', resolving(kCaches.honest)],
      ['lazy', resolving(kCaches.lazy)]
    ])
  }

  /** When the last of them has forgotten what it knew of the name before the move, if that is over by
   * now; ms from now. */
  get forgottenMs (): number {
    const longest = Math.max(...Object.values(kCaches)) * kTtlMs
    return Math.max(kSettleMs, this.#fromMs + longest + kSettleMs - performance.now())
  }

  /** Ends them; the idle one speaks before. */
  async stop (): Promise<SiteTrace[]> {
    return await Promise.all([...this.#running].map(async ([name, client]) => (
      traceOf(name, await client.stop() as Seen & Partial<SiteTrace> & Record<string, never>))))
  }

  async kill (): Promise<void> {
    for (const client of this.#running.values()) await client.kill()
  }
}

function traceOf (name: string, seen: Seen & Record<string, any>): SiteTrace {
  const { broken = 0, wrong = 0, wrongBytes = 0, bytes = 0, idleMs = 0, addresses = [] } = seen
  // A connection that broke is one trouble, and its request too.
  const troubles = Math.max(seen.failed, broken) + wrong + Math.sign(wrongBytes)
  return { ...seen, name, troubles, bytes, idleMs, addresses }
}

/** After a move: until all new clients must have come to the new address. */
export async function untilForgotten (clients: SiteClients): Promise<void> {
  await sleep(clients.forgottenMs)
}

/** Also for the start of the program. */
const kRoundTripsMs = 5000

/** The round trip to an address as a client sees it, ms: the median of many. */
export async function roundTripMs (sites: Sites, address: string): Promise<number> {
  const client: Client<Echoed> = echoNumbers({ namespace: sites.client.name, address })
  await sleep(kRoundTripsMs)
  const { samples } = await client.stop()
  const times = samples.filter(({ ok }) => ok).map(({ startMs, endMs }) => endMs - startMs)
  if (times.length === 0) throw new Error(`${address} does not answer`)
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!
}
