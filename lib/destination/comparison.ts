// What a destination that is sealed has, against what the source says that it has sent.
import { BlockferryError } from '../base/errors.js'
import type { NativeSession } from '../native/types.js'
import type { Messages } from '../session/messages.js'
import type { DestinationDisks } from './disks.js'

/** All of it is here and verified; without `equality` the digests say nothing. */
export function isEqual (
  session: NativeSession, digests: readonly string[], commit: Messages['commit'], equality: boolean
): boolean {
  const isComplete = digests.every((_digest, index) => session.missing(index) === 0)
  const same = !equality || digests.every((digest, index) => digest === commit.digests[index])
  return isComplete && same && commit.digests.length === digests.length
}

/** `changed`: the places of disks in the offer. */
export function writtenByOthers (disks: DestinationDisks, changed: readonly number[]): BlockferryError {
  const paths = changed.map((index) => disks.taps[index]!.tap.source).join(', ')
  return new BlockferryError('NOT_EQUAL', `another program has written to ${paths} at the destination`)
}
