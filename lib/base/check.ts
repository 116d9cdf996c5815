// Options that are nonsense: INVALID, and which option it is.
import { BlockferryError } from './errors.js'

export function nonsense (option: string, expected: string): BlockferryError {
  return new BlockferryError('INVALID', `${option}: must be ${expected}`)
}

export function oneOf<T extends string> (option: string, value: T, values: readonly T[]): T {
  if (!values.includes(value)) throw nonsense(option, `one of ${values.join(', ')}`)
  return value
}

export function isObject (value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

export function checkKeys (what: string, value: unknown, known: readonly string[]): void {
  if (!isObject(value)) throw nonsense(what, 'an object')
  const unknown = Object.keys(value).find((key) => !known.includes(key))
  if (unknown !== undefined) throw new BlockferryError('INVALID', `${what}.${unknown}: no such option`)
}

export function checkFlag (option: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'boolean') throw nonsense(option, 'true or false')
}

export function checkSignal (signal: AbortSignal | undefined): AbortSignal | null {
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw nonsense('signal', 'an AbortSignal')
  return signal ?? null
}
