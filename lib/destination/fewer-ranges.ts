import type { WrongRange } from '../native/types.js'

const kMaxWrong = 4096

/** At most kMaxWrong ranges that cover those given: a message has a limit, and sending a little
 * more again does no harm. */
export function limitRanges (wrong: WrongRange[]): WrongRange[] {
  const together = Math.ceil(wrong.length / kMaxWrong)
  if (together <= 1) return wrong
  const coarse: WrongRange[] = []
  for (const [index, { disk, first, count }] of wrong.entries()) {
    const last = coarse.at(-1)
    if (last?.disk === disk && index % together !== 0) last.count = first + count - last.first
    else coarse.push({ disk, first, count })
  }
  return coarse
}
