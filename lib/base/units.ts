// Sizes, rates and times as people write them: '1GiB', '50Mbit/s', '300ms', '2h'.
import { BlockferryError } from './errors.js'

const kTimes: Record<string, number> = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000 }
const kPrefixes: Record<string, number> = {
  '': 1, k: 1e3, K: 1e3, M: 1e6, G: 1e9, T: 1e12,
  Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40
}

function notOne (what: string, value: unknown, expected: string): BlockferryError {
  return new BlockferryError('INVALID', `${what}: ${String(value)} is no ${expected}`)
}

/** Milliseconds of a number (already ms) or a text with ms, s, m, min, h or d. `what` names the
 * option in the message of the error: INVALID. */
export function parseTime (what: string, value: number | string): number {
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)\s*([a-z]+)$/.exec(value.trim()) : null
  const unit = match ? kTimes[match[2]!] : undefined
  const ms = match && unit !== undefined ? Number(match[1]) * unit : value
  if (typeof ms !== 'number' || !(ms > 0)) throw notOne(what, value, "time like '300ms' or '2h'")
  return ms
}

/** Bytes of a number or a text with k, M, G, T (powers of 1000), Ki, Mi, Gi, Ti, and B if wanted. */
export function parseSize (what: string, value: number | string): number {
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)\s*([kKMGT]?i?)B?$/.exec(value.trim()) : null
  const factor = match ? kPrefixes[match[2]!] : undefined
  const bytes = match && factor !== undefined ? Number(match[1]) * factor : value
  if (typeof bytes !== 'number' || !(bytes >= 0) || !Number.isFinite(bytes)) {
    throw notOne(what, value, "size like '64KiB' or 4096")
  }
  return Math.round(bytes)
}

/** Of a disk. BAD_SIZE when none can have it. */
export function checkSize (what: string, value: number | string): number {
  const size = parseSize(what, value)
  if (size > 0 && size % 512 === 0) return size
  throw new BlockferryError('BAD_SIZE', `${what}: ${size} bytes is no positive multiple of 512`)
}

export function checkBlockSize (what: string, value: number | string): number {
  const size = parseSize(what, value)
  if (size < 4096 || size > 2 ** 20 || (size & (size - 1)) !== 0) {
    throw new BlockferryError('INVALID', `${what}: ${value} is no power of two from 4 KiB to 1 MiB`)
  }
  return size
}

/** Bytes a second of a number or a text like '50Mbit/s' or '6MB/s'. */
export function parseRate (what: string, value: number | string): number {
  const match = typeof value === 'string'
    ? /^(\d+(?:\.\d+)?)\s*([kKMGT]?i?)(bit|B)\/s$/.exec(value.trim())
    : null
  const factor = match ? kPrefixes[match[2]!] : undefined
  const rate = match && factor !== undefined
    ? Number(match[1]) * factor / (match[3] === 'bit' ? 8 : 1)
    : value
  if (typeof rate !== 'number' || !(rate > 0) || !Number.isFinite(rate)) {
    throw notOne(what, value, "rate like '50Mbit/s' or '6MB/s'")
  }
  return rate
}

/** '127.0.0.1:10809', '[::1]:10809' or 'host:port'. */
export function parseHostPort (what: string, value: string): { host: string, port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value)
  const port = match ? Number(match[3]) : NaN
  if (!match || !(port <= 65_535)) throw notOne(what, value, 'HOST:PORT')
  return { host: (match[1] ?? match[2])!, port }
}

/** 'unix:PATH' or 'tcp:HOST:PORT'. */
export function parseListen (
  what: string, value: string
): { path: string } | { host: string, port: number } {
  if (value.startsWith('unix:') && value.length > 5) return { path: value.slice(5) }
  if (value.startsWith('tcp:')) return parseHostPort(what, value.slice(4))
  throw notOne(what, value, 'unix:PATH or tcp:HOST:PORT')
}

/** 'HOST:PORT', with brackets around an IPv6 address. */
export function hostPortText ({ host, port }: { host: string, port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}
