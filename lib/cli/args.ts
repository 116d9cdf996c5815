// Reads the values of options; what makes no sense is a UsageError that names the option.
import { BlockferryError } from '../base/errors.js'
import { machineOf } from '../control/machine-spec.js'
import type { Holes } from '../tap/holes.js'
import { kHoles } from '../tap/holes.js'
import { checkBlockSize, checkSize, parseHostPort, parseListen, parseRate, parseTime } from '../base/units.js'
import type { Values } from './command.js'
import { UsageError } from './usage-error.js'

export interface NamedPath { name: string, path: string }

export function text (values: Values, name: string): string | undefined {
  return values[name] as string | undefined
}

export function texts (values: Values, name: string): string[] {
  return (values[name] as string[] | undefined) ?? []
}

export function flag (values: Values, name: string): boolean {
  return values[name] === true
}

export function required (values: Values, name: string): string {
  const value = text(values, name)
  if (value === undefined || value === '') throw new UsageError(`--${name}: is needed`)
  return value
}

/** Runs a check of the library's; its INVALID is a usage error here. */
export function checked<T> (check: () => T): T {
  try {
    return check()
  } catch (error) {
    throw error instanceof BlockferryError ? new UsageError(error.message) : error
  }
}

/** NAME=PATH, with different names. */
export function namedPaths (option: string, values: readonly string[]): NamedPath[] {
  const disks = values.map((value) => {
    const equals = value.indexOf('=')
    const [name, path] = [value.slice(0, equals), value.slice(equals + 1)]
    if (equals < 1 || path === '') throw new UsageError(`${option}: ${value} is no NAME=PATH`)
    if (Buffer.byteLength(name) > 255) {
      throw new UsageError(`${option}: ${name} has more than 255 bytes`)
    }
    return { name, path }
  })
  unique(option, disks.map(({ name }) => name))
  return disks
}

/** --size NAME=SIZE of disks that are given by their paths: bytes by name. */
export function sizes (values: Values, disks: readonly NamedPath[]): Map<string, number> {
  return new Map(namedPaths('--size', texts(values, 'size')).map(({ name, path: size }) => {
    if (!disks.some((disk) => disk.name === name)) throw new UsageError(`--size: ${name} is no disk here`)
    return [name, checked(() => checkSize('--size', size))]
  }))
}

/** Names without a path. */
export function names (option: string, values: readonly string[]): string[] {
  const path = values.find((value) => value.includes('='))
  if (path !== undefined) {
    throw new UsageError(
      `${option}: ${path} has a path, but with --control the disks are there already: give the name`)
  }
  return unique(option, values)
}

function unique (option: string, names: readonly string[]): string[] {
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new UsageError(`${option}: ${twice} is named twice`)
  return [...names]
}

export function hostPort (option: string, value: string): string {
  checked(() => parseHostPort(option, value))
  return value
}

export function listenAddress (option: string, value: string): string {
  checked(() => parseListen(option, value))
  return value
}

export function oneOf<T extends string> (option: string, value: string, known: readonly T[]): T {
  if ((known as readonly string[]).includes(value)) return value as T
  throw new UsageError(`${option}: ${value} is none of ${known.join(', ')}`)
}

export function integer (option: string, value: string, least: number, most: number): number {
  const number = /^\d{1,9}$/.test(value) ? Number(value) : NaN
  if (number >= least && number <= most) return number
  throw new UsageError(`${option}: ${value} is no number from ${least} to ${most}`)
}

export function blockSize (option: string, value: string): number {
  return checked(() => checkBlockSize(option, value))
}

/** --link-timeout, if it was given. */
export function linkTimeout (values: Values): { linkTimeout?: string } {
  const value = text(values, 'link-timeout')
  if (value === undefined) return {}
  const ms = checked(() => parseTime('--link-timeout', value))
  if (ms < 1000) throw new UsageError(`--link-timeout: ${value} is less than 1s`)
  return { linkTimeout: value }
}

/** A time, or 0 for none, in ms. */
export function timeOrNothing (option: string, value: string): number {
  return value === '0' ? 0 : checked(() => parseTime(option, value))
}

/** --machine, if it was given. */
export function machine (values: Values): { machine?: string } {
  const value = text(values, 'machine')
  if (value === undefined) return {}
  checked(() => machineOf('--machine', value))
  return { machine: value }
}

export const kLinkHelp =
  '  --link-timeout TIME    a peer that is silent for so long is gone (default 20s, at least 1s)'

export const kSizeHelp =
  `  --size NAME=SIZE       the disk is the first so many bytes of what it lies on, which is larger:
                         where storage rounds up (LVM), unless the --journal knows (repeatable)`

export const kForceHelp =
  `  --force                take disks although another program has them open for writing, or they
                         look like images in another format than raw`

export const kHolesHelp =
  `  --holes HOW            what a file's holes are: trust (taken for zeroes, unread), read (read like
                         data), or auto (trust where the file system is known to tell them exactly,
                         else read; the default)`

export function holes (values: Values): { holes?: Holes } {
  const value = text(values, 'holes')
  return value === undefined ? {} : { holes: oneOf('--holes', value, kHoles) }
}

const kDate = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?$/

/** 'auto', 'manual' or a date like 2030-01-31T02:00:00Z. */
export function switchover (option: string, value: string): string {
  if (value === 'auto' || value === 'manual') return value
  const isDate = kDate.test(value)
  if (isDate && !Number.isNaN(new Date(value).getTime())) return value
  throw new UsageError(
    `${option}: ${value} is none of auto, manual and a date like 2030-01-31T02:00:00Z`)
}

export const kBudgetOptions = {
  downtime: { type: 'string' },
  'write-latency': { type: 'string' },
  deadline: { type: 'string' },
  bandwidth: { type: 'string' }
} as const

export const kBudgetHelp = `  --downtime TIME        the most that the writers may be stopped, like 300ms
  --write-latency TIME   the most that the throttle may delay a 4 KiB write on average
  --deadline TIME        fail when the switchover has not begun by then, like 2h
  --bandwidth RATE       the most to send, like 50Mbit/s or 6MB/s`

/** The budgets that were given, as they were written. */
export function budgets (values: Values): Record<string, string> {
  const given: Record<string, string> = {}
  const take = (option: string, key: string, parse: (what: string, value: string) => number) => {
    const value = text(values, option)
    if (value === undefined) return
    checked(() => parse(`--${option}`, value))
    given[key] = value
  }
  take('downtime', 'downtime', parseTime)
  take('write-latency', 'writeLatency', parseTime)
  take('deadline', 'deadline', parseTime)
  take('bandwidth', 'bandwidth', parseRate)
  return given
}
