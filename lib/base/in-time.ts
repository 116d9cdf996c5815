// Waits that have an end.
import { toBlockferryError } from './errors.js'

/** How often the link's time limit the other side's storage may take for an answer, and at least, ms. */
const kAnswerTimeouts = 3
const kLeastAnswerMs = 15_000

/** How long an answer may take that needs the other side's storage, which may hang while its link lives, ms. */
export function answerLimitMs (linkTimeoutMs: number): number {
  return Math.max(kLeastAnswerMs, kAnswerTimeouts * linkTimeoutMs)
}

/** Whether it is done within so many ms. Rejects as it does. */
export async function inTime (promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => { timer = setTimeout(() => resolve(false), ms) })
  try {
    return await Promise.race([promise.then(() => true), late])
  } catch (error) {
    throw toBlockferryError(error)
  } finally {
    clearTimeout(timer)
  }
}
