// What must hold after a fault, whatever it was: one owner at most, none only when that is said,
// and every acknowledged write with the owner.
import { setTimeout as sleep } from 'node:timers/promises'

import { recover, type BlockferryError, type TapState } from '../../lib/index.js'
import { hashOf } from '../support/images.js'
import type { Writer } from '../support/writer.js'

/** How long a writer at the owner gets for its next write, ms: a machine may be busy. */
const kWriteMs = 20_000

export interface Trial {
  seed: number
  /** The fault's name. */
  fault: string
  /** It moved in the end. */
  moved: boolean
  error: BlockferryError | null
  /** ms from the loss of a link until it was back, of each. */
  resumeMs: number[]
  /** What went over the link beyond the data once and what the writer dirtied, over the data. Null:
   * it did not move. */
  resentShare: number | null
  ownersWrong: number
  writesLost: number
  /** Every promise that was broken, in words. */
  wrong: string[]
}

export interface Journals { source: string, destination: string }

export interface Outcome {
  /** Whether the source, and the destination, may write. */
  here: boolean
  there: boolean
  writer: Writer
  image: string
  target: string
  /** A disk lies. */
  mayDiffer: boolean
}

/** A source does what it says of the owner. */
export async function checkSource (
  state: TapState, writer: Writer, { moved, error, wrong }: Trial
): Promise<void> {
  if (moved) {
    expect(wrong, state === 'refusing', `it moved, and the source is ${state}`)
  } else if (error!.owner === 'source') {
    expect(wrong, state === 'open', `the source owns it, and is ${state}`)
    expect(wrong, await writesOn(writer), `its writer met ${String(writer.error)}`)
  } else {
    expect(wrong, error!.owner === 'unknown', `the owner is ${error!.owner}`)
    expect(wrong, state === 'holding', `nobody knows, and the source is ${state}`)
    expect(wrong, writer.error === null, `its writer met ${String(writer.error)}`)
  }
}

/** Whoever may write has everything, and nobody else may. */
export async function checkOwner (
  { here, there, writer, image, target, mayDiffer }: Outcome, trial: Trial
): Promise<void> {
  const { moved, error, wrong } = trial
  if (here && there) trial.ownersWrong++
  expect(wrong, !moved || there, 'it moved, and the destination does not own it')
  expect(wrong, error?.owner !== 'source' || !there, 'the source owns it: not the destination')
  // What a link does both sides can make good, or blame on it: they never differ over it.
  const lost = error?.code === 'NOT_EQUAL' && !mayDiffer
  expect(wrong, !lost, 'something was lost on the way, and not sent again')
  // Nothing is in flight at an owner's disk then.
  const isStill = here && await Promise.race([writer.pause().then(() => true), sleep(kWriteMs, false, { ref: false })])
  expect(wrong, isStill === here, 'a write of it never came back')
  const isEqual = !there || await hashOf(image) === await hashOf(target)
  expect(wrong, isEqual, 'it is there: both are equal')
  trial.writesLost = writer.lostIn(there ? target : image).length
  if (here) writer.resume()
  expect(wrong, trial.ownersWrong === 0, 'two owners')
  expect(wrong, trial.writesLost === 0, `${trial.writesLost} acknowledged writes are lost`)
}

async function writesOn (writer: Writer): Promise<boolean> {
  const { writes } = writer
  const until = performance.now() + kWriteMs
  while (writer.error === null && writer.writes < writes + 5 && performance.now() < until) {
    await sleep(2)
  }
  return writer.error === null && writer.writes >= writes + 5
}

/** What the journals say of it, each alone and with a token from the other side; and who owns it
 * when they have said all. The processes that wrote them have closed them. */
export async function checkJournals (
  journals: Journals, trial: Trial
): Promise<{ here: boolean, there: boolean }> {
  const { wrong } = trial
  const [destination] = await recover(journals.destination)
  const [alone] = await recover(journals.source, { patienceMs: 0 })
  const token = destination?.token ?? null
  const [told] = token === null
    ? [alone]
    : await recover(journals.source, { patienceMs: 0, token })
  const there = destination?.here === 'here'
  for (const [how, recovered] of [['alone', alone], ['told', told]] as const) {
    const both = recovered?.here === 'here' && there
    if (both) trial.ownersWrong++
    expect(wrong, !both, `the journals (${how}) know two owners`)
  }
  expect(wrong, destination?.here !== 'unknown', 'the destination does not know')
  // A destination that never heard of it has nothing to tell; then the source decided alone.
  expect(wrong, told?.here !== 'unknown' || token === null, 'the token did not settle it')
  if (trial.error?.owner === 'source') {
    expect(wrong, alone?.here !== 'elsewhere', 'its journal gives away what the source owns')
  }
  if (trial.moved) {
    expect(wrong, alone?.here === 'elsewhere', `it moved, its journal says ${alone?.here}`)
    expect(wrong, there, `it moved, the other journal says ${destination?.here}`)
  }
  // A migration that had not begun is in no journal.
  const here = told === undefined || told.here === 'here'
  return { here, there }
}

export function expect (wrong: string[], holds: boolean, words: string): void {
  if (!holds) wrong.push(words)
}
