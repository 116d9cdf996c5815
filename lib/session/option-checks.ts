// What the options of migrate() and receive() have in common: INVALID, and which option, for what is nonsense.
import { isObject, nonsense } from '../base/check.js'
import { parseHostPort, parseTime } from '../base/units.js'
import type { Machine } from '../machine/machine.js'
import { isMemoryMachine } from '../machine/machine.js'
import type { Network } from '../network/network.js'
import { Journal } from '../ownership/journal.js'

const kMaxDisks = 64

export function checkNames (names: readonly string[]): void {
  if (names.length === 0 || names.length > kMaxDisks) throw nonsense('disks', `1 to ${kMaxDisks} disks`)
  for (const [index, name] of names.entries()) {
    if (typeof name !== 'string' || name === '' || Buffer.byteLength(name) > 255) {
      throw nonsense(`disks[${index}].name`, 'a text of 1 to 255 bytes')
    }
    if (names.indexOf(name) !== index) throw nonsense(`disks[${index}].name`, 'unique')
  }
}

export function checkAddress (option: string, value: unknown): { host: string, port: number } {
  const address = typeof value === 'string' ? parseHostPort(option, value) : value
  const { host, port } = (isObject(address) ? address : {}) as { host?: unknown, port?: unknown }
  const whole = Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65_535
  if (typeof host !== 'string' || host === '' || !whole) throw nonsense(option, 'HOST:PORT')
  return { host, port: port as number }
}

export function checkMachine (machine: Machine | undefined): Machine {
  for (const method of ['pause', 'resume'] as const) {
    const type = typeof machine?.[method]
    if (type !== 'undefined' && type !== 'function') throw nonsense(`machine.${method}`, 'a function')
  }
  if (machine !== undefined && isMemoryMachine(machine) && typeof machine.expect !== 'function') {
    throw nonsense('machine', 'a machine with all the methods that moving memory takes')
  }
  return machine ?? {}
}

export function checkNetwork (network: Network | undefined): Network | null {
  for (const method of ['prepare', 'switchOver', 'undo'] as const) {
    if (network !== undefined && typeof network?.[method] !== 'function') {
      throw nonsense('network', `an object with ${method}()`)
    }
  }
  return network ?? null
}

export function checkLinkTimeout (value: number | string): number {
  const ms = parseTime('linkTimeout', value)
  if (ms < 1000) throw nonsense('linkTimeout', 'at least 1 s')
  return ms
}

export function checkJournal (journal: unknown): string | Journal | null {
  if (journal === undefined) return null
  if (journal instanceof Journal || (typeof journal === 'string' && journal !== '')) return journal
  throw nonsense('journal', 'a path or a Journal')
}
