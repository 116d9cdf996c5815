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

/** Why the hypervisor is gone, as MACHINE, if it does not say better. */
export function machineGone (reason: unknown): BlockferryError {
  if (reason instanceof BlockferryError) return reason
  const words = reason instanceof Error ? reason.message : String(reason)
  return new BlockferryError('MACHINE', `the machine is gone: ${words}`, { cause: reason })
}
