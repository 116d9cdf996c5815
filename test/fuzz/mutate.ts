// Bytes and values as they may be after an accident, or from somebody who means ill.
import type { Random } from '../../testbed/support/random.js'

type Change = (bytes: Buffer, from: number, to: number, random: Random) => Buffer

const kChanges: readonly Change[] = [
  (bytes, from, _to, random) => {
    const flipped = Buffer.from(bytes)
    flipped[from]! ^= 1 << random.below(8)
    return flipped
  },
  (bytes, from) => bytes.subarray(0, from),
  (bytes, from, to) => Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]),
  (bytes, from, to) => Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)]),
  (bytes, from, to, random) => Buffer.from(bytes).fill(random.pick([0, 10, random.below(256)]), from, to)
]

/** 1 to 3 changes: a bit flipped, a piece lost, doubled or filled, the rest cut off. */
export function mutateBytes (bytes: Buffer, random: Random): Buffer {
  let changed = bytes
  for (let left = 1 + random.below(3); left > 0 && changed.length > 0; left--) {
    const from = random.below(changed.length)
    const to = Math.min(changed.length, from + 1 + random.below(64))
    changed = random.pick(kChanges)(changed, from, to, random)
  }
  return changed
}

const kOdd: readonly unknown[] = [
  null, true, 0, -1, 1.5, 2 ** 53, 1e308, '', 'x', 'constructor', '__proto__', 'a'.repeat(5000), [], {}, [null], [[]],
  { length: 3 }
]

/** The same value with one thing in it, however deep, gone, doubled, or another. */
export function mutateValue (value: unknown, random: Random): unknown {
  if (typeof value !== 'object' || value === null || random.next() < 0.2) return random.pick(kOdd)
  const keys = Object.keys(value)
  if (keys.length === 0) return random.pick(kOdd)
  const key = random.pick(keys)
  const copy: any = Array.isArray(value) ? [...value] : { ...value }
  if (random.next() < 0.2) delete copy[key]
  else copy[key] = mutateValue(copy[key], random)
  return copy
}
