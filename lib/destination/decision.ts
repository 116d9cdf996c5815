// What a sealed destination decides, from what it has and what the source says that it has sent.
import type { Messages } from '../session/messages.js'

export interface Received {
  /** Of each disk, in the order of the offer. */
  digests: readonly string[]
  /** Blocks of each disk that have not arrived. */
  missing: readonly number[]
  /** No block that was read again is wrong. */
  isRight: boolean
  /** Places in the offer of the disks that somebody else has written behind the last flush. */
  changed: readonly number[]
}

/** `notEqual`: what differs can be sent again. `written`: by somebody else, nobody knows where. */
export type Decision = 'commit' | 'notEqual' | 'written'

/** Without `equality` the digests say nothing. */
export function decide (
  { digests, missing, isRight, changed }: Received, commit: Messages['commit'], equality: boolean
): Decision {
  if (changed.length > 0) return 'written'
  const isComplete = isRight && missing.every((blocks) => blocks === 0)
  const isSame = digests.every((digest, index) => digest === commit.digests[index])
  const isOfThese = commit.digests.length === digests.length
  return isComplete && isOfThese && (isSame || !equality) ? 'commit' : 'notEqual'
}
