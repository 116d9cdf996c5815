// What a client program notes down, and how it ends: it runs until its standard input is closed,
// and then says what it saw as one line of JSON.

import { once, setMaxListeners } from 'node:events'

/** One request. Times in milliseconds since the start of the client program. */
export interface Sample {
  readonly startMs: number
  readonly endMs: number
  readonly ok: boolean
}

/** The time now, in milliseconds since the start of this program. */
export function nowMs (): number {
  return Math.round(performance.now() * 1000) / 1000
}

/** Aborted when the client shall end. */
export function stopSignal (): AbortSignal {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal) // one per open request
  process.stdin.resume()
  void once(process.stdin, 'close').then(() => controller.abort())
  return controller.signal
}

/** Says the result, and when this program's time began; ends the program, whatever is open. */
export function finish (result: object): void {
  const { timeOrigin: originMs } = performance
  process.stdout.write(`${JSON.stringify({ originMs, ...result })}\n`, () => process.exit(0))
}
