// Sends numbers over one connection that stays, at a fixed pace, and notes when each comes back.
//
//   echo ADDRESS PORT INTERVAL_MS

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { finish, nowMs, stopSignal, type Sample } from './timeline.js'

const [address, port, interval] = process.argv.slice(2) as [string, string, string]
const stop = stopSignal()
const samples: Sample[] = []
let wrong = 0
let broken = 0

/** Sends on one connection until it breaks or the client shall end. */
async function talk (socket: Socket): Promise<void> {
  const started: number[] = []
  let returned = 0
  const over = new AbortController()
  socket.on('error', () => over.abort()).on('close', () => over.abort())
  createInterface(socket).on('error', () => undefined).on('line', (line) => {
    if (line !== String(returned)) wrong += 1
    samples.push({ startMs: started[returned] ?? 0, endMs: nowMs(), ok: true })
    returned += 1
  })
  while (!stop.aborted && !over.signal.aborted) {
    socket.write(`${started.push(nowMs()) - 1}\n`)
    const signal = AbortSignal.any([stop, over.signal])
    await sleep(Number(interval), undefined, { signal }).catch(() => undefined)
  }
  for (const startMs of stop.aborted ? [] : started.slice(returned)) {
    samples.push({ startMs, endMs: nowMs(), ok: false })
  }
}

while (!stop.aborted) {
  const socket = connect({ host: address, port: Number(port), noDelay: true })
  const isOpen = await once(socket, 'connect', { signal: stop }).then(() => true, () => false)
  if (isOpen) await talk(socket)
  if (!stop.aborted) {
    broken += 1
    await sleep(100)
  }
  socket.destroy()
}
finish({ samples, wrong, broken })
