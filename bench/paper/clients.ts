// The guest's clients in each workload, and what each of them saw, by the machine's clock.

import type { Client, ClientOptions, Seen } from '../../testbed/clients/clients.js'
import { downloadSlowly, echoNumbers, pollPage } from '../../testbed/clients/clients.js'
import { writeRecords } from '../../testbed/clients/clients.js'
import type { Sample } from '../../testbed/clients/programs/timeline.js'
import type { Setting, Workload } from './cases.js'

/** What one client saw. Times in milliseconds since 1970. */
export interface Trace {
  readonly name: string
  /** Between its requests, in ms. */
  readonly intervalMs: number
  readonly samples: readonly Sample[]
  /** Connections that ended early, answers that were wrong, and requests that failed. */
  readonly broken: number
  /** Records that the guest says it has written. */
  readonly acknowledged: readonly string[]
}

interface Running {
  readonly name: string
  readonly intervalMs: number
  readonly client: Client<Partial<Counted>>
}

interface Counted {
  readonly broken: number
  readonly wrong: number
  readonly wrongBytes: number
  readonly acknowledged: readonly string[]
}

const intervalMs = 20

/** All clients of one workload; the echo client, whose connection is as old as the run, in each. */
export class Clients {
  readonly #running: Running[]

  constructor (workload: Workload, setting: Setting, options: ClientOptions) {
    const { writeIntervalMs, downloadBytesPerSecond } = setting
    const poll = (connection: 'new' | 'kept'): Running => {
      return { name: `poll-${connection}`, intervalMs, client: pollPage(options, connection) }
    }
    const byWorkload: Record<Workload, () => Running[]> = {
      static: () => [poll('new'), poll('kept')],
      dynamic: () => [
        {
          name: 'write',
          intervalMs: writeIntervalMs,
          client: writeRecords({ ...options, intervalMs: writeIntervalMs })
        }
      ],
      stream: () => [
        { name: 'stream', intervalMs: 0, client: downloadSlowly(options, downloadBytesPerSecond) }
      ],
      diabolical: () => [poll('kept')]
    }
    const echo = { name: 'echo', intervalMs, client: echoNumbers(options) }
    this.#running = [...byWorkload[workload](), echo]
  }

  /** Ends them, each after the request that it waits for. */
  async stop (): Promise<Trace[]> {
    return Promise.all(
      this.#running.map(async ({ name, intervalMs, client }) => {
        return trace(name, intervalMs, await client.stop())
      })
    )
  }

  /** Ends them at once. */
  async kill (): Promise<void> {
    for (const { client } of this.#running) await client.kill()
  }
}

function trace (name: string, intervalMs: number, seen: Seen & Partial<Counted>): Trace {
  const { originMs, failed, broken = 0, wrong = 0, wrongBytes = 0, acknowledged = [] } = seen
  const samples = seen.samples.map(({ startMs, endMs, ok }) => {
    return { startMs: startMs + originMs, endMs: endMs + originMs, ok }
  })
  const troubles = failed + broken + wrong + Math.sign(wrongBytes)
  return { name, intervalMs, samples, broken: troubles, acknowledged }
}

/**
 * The longest time without an answer within a span, less the interval between requests, in ms. A
 * gap counts when it ends in the span. Null when there was no answer in it.
 */
export function gapWithin ({ samples, intervalMs }: Trace, fromMs: number, toMs: number) {
  const ends = samples.filter(({ ok }) => ok).map(({ endMs }) => endMs)
  ends.sort((a, b) => a - b)
  const gaps = ends
    .map((end, i) => ({ end, ms: end - (ends[i - 1] ?? end) }))
    .filter(({ end }) => end >= fromMs && end <= toMs)
    .map(({ ms }) => ms)
  if (gaps.length === 0) return null
  return Math.round(Math.max(0, gaps.reduce((a, b) => Math.max(a, b), 0) - intervalMs))
}
