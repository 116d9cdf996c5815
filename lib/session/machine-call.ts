import { BlockferryError } from '../base/errors.js'

/** Calls a method of the machine; whatever it throws becomes MACHINE. */
export async function machineCall<T> (method: string, call: () => Promise<T> | T): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    const words = cause instanceof Error ? cause.message : String(cause)
    throw new BlockferryError('MACHINE', `${method}() of the machine failed: ${words}`, { cause })
  }
}
