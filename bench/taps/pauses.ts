// What a writer with one write in flight notices of a tap that is attached and detached.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Figures } from '../support/figures.js'
import type { TapContender } from './contender.js'
import { LatencyWriter } from './writers.js'

/** Quiet times before, between and after, and what a call's effect may come late. */
const quietMs = 1000
const lateMs = 20
/** fio takes a while to start. */
const startMs = 1500

export async function measurePauses (
  tapKind: TapContender, device: string, folder: string
): Promise<Figures> {
  const writer = new LatencyWriter(device, folder, 8)
  await sleep(startMs)
  const start = Date.now()
  await sleep(quietMs)
  const attach = Date.now()
  const tap = await tapKind.attach(device)
  const attached = Date.now()
  tap.track()
  await sleep(quietMs)
  const detach = Date.now()
  await tap.close()
  const detached = Date.now()
  await sleep(quietMs)
  const longest = await writer.longest({
    quietPauseMs: [start, attach - 1],
    attachPauseMs: [attach, attached + lateMs],
    tappedPauseMs: [attached + lateMs + 1, detach - 1],
    detachPauseMs: [detach, detached + lateMs]
  })
  return { attachMs: attached - attach, detachMs: detached - detach, ...longest }
}
