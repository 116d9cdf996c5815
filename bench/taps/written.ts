// What is written to a tapped device over some time, and how fast.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Tap } from '../../lib/index.js'

const lookMs = 10
/** The kernel's limits act in slices of about 100 ms. */
const windowMs = 250

export interface Look {
  /** Since the first. */
  readonly ms: number
  readonly bytes: number
}

export async function watch (tap: Tap, milliseconds: number): Promise<Look[]> {
  const began = performance.now()
  const looks: Look[] = []
  for (let ms = 0; ms <= milliseconds; ms = performance.now() - began) {
    looks.push({ ms, bytes: tap.stats().writtenBytes })
    await sleep(lookMs)
  }
  return looks
}

/** Bytes a second, from the first look to the last. */
export function rate (looks: readonly Look[]): number {
  const [first, last] = [looks[0]!, looks.at(-1)!]
  return ((last.bytes - first.bytes) * 1000) / (last.ms - first.ms)
}

/** When the first window begins whose rate fits, ms; null: none does. */
export function firstWindow (looks: readonly Look[], fits: (rate: number) => boolean): number | null {
  for (const [index, { ms }] of looks.entries()) {
    const end = looks.findIndex((look) => look.ms >= ms + windowMs)
    if (end === -1) return null
    if (fits(rate(looks.slice(index, end + 1)))) return ms
  }
  return null
}
