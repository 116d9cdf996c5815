// What must hold after a fault, whatever it was: one owner at most, none only when that is said,
// and every acknowledged write with the owner.
import { setTimeout as sleep } from 'node:timers/promises'

import type { Whereabouts } from '../../lib/ownership/journal.js'
import { recover } from '../../lib/index.js'
import { hashOf } from '../support/images.js'
import type { Writer } from '../support/writer.js'
import type { Setting, Trial } from './trial.js'

/** For a destination to do what it must not. */
const kLateMs = 300
/** How long a writer at the owner gets for its next write, ms: a machine may be busy. */
const kWriteMs = 20_000

/** Who can write now, and does the owner have everything? */
export async function checkOwner (setting: Setting, trial: Trial): Promise<void> {
  const { receiver, target, source: { tap: source, writer, image } } = setting
  const { moved, error, wrong } = trial
  if (moved) await receiver.done
  else await sleep(kLateMs) // what the link held back may reach the destination, too late
  const there = receiver.taps.get('web')?.state === 'open'
  const here = source.state === 'open'
  if (here && there) trial.ownersWrong++
  if (moved) {
    expect(wrong, there && source.state === 'refusing', 'it moved: only the destination is open')
    expect(wrong, await hashOf(image) === await hashOf(target), 'it moved: both are equal')
  } else if (error!.owner === 'source') {
    // What a link does both sides can make good, or blame on it: they never differ over it.
    const lost = error!.code === 'NOT_EQUAL' && !setting.mayDiffer
    expect(wrong, !lost, 'something was lost on the way, and not sent again')
    expect(wrong, here && !there, `the source owns it, and is ${source.state}`)
    expect(wrong, await writesOn(writer), `its writer met ${String(writer.error)}`)
  } else {
    expect(wrong, error!.owner === 'unknown', `the owner is ${error!.owner}`)
    expect(wrong, source.state === 'holding', `nobody knows, and the source is ${source.state}`)
    expect(wrong, writer.error === null, `its writer met ${String(writer.error)}`)
  }
  // Nothing is in flight at an owner's disk then.
  const isStill = here && await Promise.race([writer.pause().then(() => true), sleep(kWriteMs, false, { ref: false })])
  expect(wrong, isStill === here, 'a write of it never came back')
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

/** What the journals say of it, each alone and with a token from the other side. */
export async function checkJournals (setting: Setting, trial: Trial): Promise<void> {
  const { journals, receiver } = setting
  if (journals === null) return
  await receiver.close()
  const [destination] = await recover(journals.destination)
  const [alone] = await recover(journals.source, { patienceMs: 0 })
  const token = destination?.token ?? null
  const [told] = token === null
    ? [alone]
    : await recover(journals.source, { patienceMs: 0, token })
  const pairs: Array<[string, Whereabouts | undefined]> = [
    ['alone', alone?.here], ['told', told?.here]
  ]
  for (const [how, here] of pairs) {
    const both = here === 'here' && destination?.here === 'here'
    if (both) trial.ownersWrong++
    expect(trial.wrong, !both, `the journals (${how}) know two owners`)
  }
  // A destination that never heard of it has nothing to tell; then the source decided alone.
  const known = told === undefined || told.here !== 'unknown' || token === null
  expect(trial.wrong, known, 'the token did not settle it')
  if (trial.error?.owner === 'source') {
    expect(trial.wrong, alone?.here !== 'elsewhere', 'its journal gives away what the source owns')
  }
  if (trial.moved) {
    expect(trial.wrong, alone?.here === 'elsewhere', `it moved, its journal says ${alone?.here}`)
    expect(trial.wrong, destination?.here === 'here', `it moved, the other journal says ${destination?.here}`)
  }
}

function expect (wrong: string[], holds: boolean, words: string): void {
  if (!holds) wrong.push(words)
}
