// Waits that have an end.
import { toBlockferryError } from './errors.js'

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
