// Reads a stream of events with sequence numbers, over one connection that stays.
//
//   events URL

import { get as request, type IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { finish, nowMs, stopSignal, type Sample } from './timeline.js'

const url = process.argv[2] as string
const stop = stopSignal()
const samples: Sample[] = []
let wrong = 0
let broken = 0

function open (): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request(url, { agent: false, signal: stop }, resolve).on('error', reject)
  })
}

async function follow (): Promise<void> {
  const response = await open()
  response.on('error', () => undefined)
  let [next, startMs] = [0, nowMs()]
  for await (const line of createInterface(response)) {
    if (!line.startsWith('data: ')) continue
    if (line !== `data: ${next++}`) wrong += 1
    samples.push({ startMs, endMs: nowMs(), ok: true })
    startMs = nowMs()
  }
}

while (!stop.aborted) {
  await follow().catch(() => undefined)
  if (stop.aborted) break
  broken += 1
  await sleep(100)
}
finish({ samples, wrong, broken })
