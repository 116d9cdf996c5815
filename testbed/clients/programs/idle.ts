// Opens a connection to the echo server, says a word on it, and nothing more before the end: then
// another word, which has to come back.
//
//   idle ADDRESS PORT

import { once } from 'node:events'
import { connect } from 'node:net'
import { finish, nowMs, stopSignal } from './timeline.js'

/** A lost packet is sent again within this time. */
const patienceMs = 20_000

const [address, port] = process.argv.slice(2) as [string, string]
const stop = stopSignal()
const socket = connect({ host: address, port: Number(port), noDelay: true })
socket.on('error', () => undefined)

async function say (word: string): Promise<boolean> {
  const signal = AbortSignal.timeout(patienceMs)
  socket.write(word)
  const answer = await once(socket, 'data', { signal }).catch(() => [])
  return String(answer[0]) === word
}

const begun = await say('first')
const fromMs = nowMs()
if (!stop.aborted) await once(stop, 'abort')
const [startMs, spoken] = [nowMs(), await say('last')]
const sample = { startMs, endMs: nowMs(), ok: begun && spoken }
finish({ samples: [sample], idleMs: startMs - fromMs, broken: sample.ok ? 0 : 1 })
