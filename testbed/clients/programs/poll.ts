// Asks for a page again and again and notes how long each answer takes.
//
//   poll URL INTERVAL_MS new|kept
//
// new: each request has a connection of its own and starts when it is due, whether the ones before
// have been answered or not. kept: all have one connection, so each waits for the one before.

import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { get } from './http.js'
import { finish, nowMs, stopSignal, type Sample } from './timeline.js'

const openLimit = 256

const [url, interval, connection] = process.argv.slice(2) as [string, string, string]
const isKept = connection === 'kept'
const agent = new Agent({ keepAlive: isKept, maxSockets: isKept ? 1 : Infinity })
const stop = stopSignal()
const samples: Sample[] = []
const open = new Set<Promise<void>>()

async function ask (): Promise<void> {
  const startMs = nowMs()
  const ok = await get(url, agent, stop).then(() => true, () => false)
  if (!ok && stop.aborted) return // it was not given the time
  samples.push({ startMs, endMs: nowMs(), ok })
}

for (let dueMs = nowMs(); !stop.aborted; dueMs = Math.max(dueMs + Number(interval), nowMs())) {
  await sleep(Math.max(0, dueMs - nowMs()), undefined, { signal: stop }).catch(() => undefined)
  if (stop.aborted) break
  const asked = ask().finally(() => open.delete(asked))
  open.add(asked)
  if (isKept || open.size >= openLimit) await Promise.race(open)
}
await Promise.all(open)
finish({ samples })
