// Asks the guest to write, again and again, one request after the other, and notes what was
// acknowledged. The client's numbers are its own: each is used once, so what one request wrote
// is never taken for what another did.
//
//   write URL INTERVAL_MS

import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { get } from './http.js'
import { finish, nowMs, stopSignal, type Sample } from './timeline.js'

const [url, interval] = process.argv.slice(2) as [string, string]
const agent = new Agent({ keepAlive: true, maxSockets: 1 })
const stop = stopSignal()
const samples: Sample[] = []
const acknowledged: string[] = []
// Two clients have different numbers.
const first = process.pid * 1e9

for (let asked = 0; !stop.aborted; asked++) {
  const startMs = nowMs()
  const record = await get(`${url}?client=${first + asked}`, agent).catch(() => undefined)
  samples.push({ startMs, endMs: nowMs(), ok: record !== undefined })
  if (record !== undefined) acknowledged.push(record.trim())
  const leftMs = startMs + Number(interval) - nowMs()
  await sleep(Math.max(0, leftMs), undefined, { signal: stop }).catch(() => undefined)
}
finish({ samples, acknowledged })
