// The switchover: stop the writers, send the residual, let the destination decide.
//
// The destination decides alone: it commits if everything has arrived and both digests are equal.
// So the commit message goes out right behind the residual and the memory, and the pause costs one
// round trip.
// From that message on, until the answer, this side may not let a write through whatever happens:
// the taps stay on hold.
import { BlockferryError, toBlockferryError } from '../base/errors.js'
import { inTime } from '../base/in-time.js'
import { answerLimitMs } from '../session/time-limits.js'
import type { Machine } from '../machine/machine.js'
import { isMemoryMachine } from '../machine/machine.js'
import type { SourceOwnership } from '../ownership/source-ownership.js'
import type { SwitchoverStep } from '../session/events.js'
import { machineCall } from '../session/machine-call.js'
import type { Messages } from '../session/messages.js'
import type { NetworkSteps } from '../session/network-steps.js'
import type { Digests, DowntimePhases } from '../session/report.js'
import type { Commands } from './commands.js'
import type { Copying } from './copying.js'
import type { SourceDisks } from './disks.js'
import type { SourceLink } from './link.js'
import type { SourceMachine } from './machine.js'
import type { SourcePhase } from './phase.js'

/** It moved; or it was taken back for this `reason`, and copying can go on when the destination has verified
 * the last barrier. */
export type SwitchoverOutcome =
  | { moved: true, digests: Digests, networkSwitched: Promise<void> }
  | { moved: false, reason: string, verified: Promise<unknown> }

export interface SwitchoverParts {
  phase: SourcePhase
  link: SourceLink
  disks: SourceDisks
  machine: SourceMachine
  copying: Copying
  ownership: SourceOwnership
  network: NetworkSteps
  linkTimeoutMs: number
  tell: (step: SwitchoverStep) => void
  /** Looked at until the commit message goes. */
  commands: Commands
  /** Asks the destination on a new link; see committedAfterBreak(). */
  askAfterBreak: () => Promise<Digests | null>
}

/** What ends the pause. */
type Answer = { digests: Digests } | { reason: string, verified: Promise<unknown> }

/** What a broken pause costs at most before it is taken back, because the residual has not left: twice the budget
 * and this. */
const kResidualGraceMs = 1000
/** A wrong block is sent a second time inside the pause; if that doesn't mend it the migration
 * fails. */
const kTries = 2

/** Rejects when it comes to nothing for good: then the phase says whether the disks may be the destination's. */
export async function switchOver (
  parts: SwitchoverParts
): Promise<{ outcome: SwitchoverOutcome, phases: DowntimePhases }> {
  const { phase, disks, copying, ownership, network, machine } = parts
  const phases = { pause: 0, drain: 0, residual: 0, commit: 0 }
  phase.to('pausing')
  // A machine that has paused itself waits for nothing that can go on beside it.
  if (machine.memory === null) await unlessCancelled(parts, copying.untilCheckpoint())
  const clock = stopwatch()
  const answer = await pauseAndAsk(parts, phases, clock).catch(async (error: unknown) => {
    const digests = await digestsAfterBreak(parts, toBlockferryError(error))
    phases.commit += clock()
    return { digests }
  })
  copying.recordPause(phases.pause + phases.drain)
  if (!('digests' in answer)) return { outcome: { moved: false, ...answer }, phases }
  phase.to('moved')
  disks.refuse()
  // What comes of it is looked at when the other side knows that we know.
  const networkSwitched = network.switchOver()
  networkSwitched.catch(() => {})
  await ownership.moved()
  return { outcome: { moved: true, digests: answer.digests, networkSwitched }, phases }
}

async function pauseAndAsk (parts: SwitchoverParts, phases: DowntimePhases, clock: () => number): Promise<Answer> {
  const { phase, link, disks, machine, copying, tell } = parts
  const { memory } = machine
  machine.touch()
  tell('pause')
  if (memory === null) await machineCall('pause', () => machine.machine.pause?.())
  phases.pause = clock()
  disks.hold()
  link.send('switchover', {})
  // Both go beside the residual, if they may.
  const residualLimitMs = 2 * parts.commands.budgets.downtimeMs + kResidualGraceMs
  const isPreparedLater = goesOnByItself(machine.machine)
  const prepared = inBackground(isPreparedLater ? Promise.resolve() : prepareCommit(parts))
  const memorySent = inBackground(memory?.finish() ?? Promise.resolve())
  await unlessCancelled(parts, disks.drain())
  // The last barrier can't overtake a checkpoint that is running.
  if (!await inTime(unlessCancelled(parts, copying.untilCheckpoint()), residualLimitMs)) {
    return { reason: 'a checkpoint took too long', verified: inBackground(copying.untilCheckpoint()) }
  }
  phases.drain = clock()
  const written = disks.writers().writes
  for (let tries = 1; ; tries++) {
    tell('residual')
    const { mark, sent, verified } = link.finish()
    const allSent = Promise.all([sent, memorySent, prepared])
    if (!await inTime(unlessCancelled(parts, allSent), residualLimitMs)) {
      link.sender.unfinish()
      return { reason: 'the residual took too long', verified }
    }
    if (isPreparedLater && tries === 1) await prepareCommit(parts)
    await disks.drain()
    phases.residual += clock()
    checkNothingWritten(parts, written)
    const source = disks.taps.map((_tap, index) => link.sender.digest(index))
    parts.commands.check()
    phase.to('deciding')
    tell('commit')
    const run = memory === null || memory.running
    const destination = await askForCommit(link, { mark, digests: source, run }, parts.linkTimeoutMs)
    phases.commit += clock()
    if (destination !== null) return { digests: { source, destination } }
    const { wrong } = await verified
    if (wrong.length === 0 || tries === kTries) {
      throw new BlockferryError('NOT_EQUAL', 'the destination differs from the source at the pause', {
        owner: 'source', resumable: true
      })
    }
    phase.to('pausing')
    link.markAgain(wrong)
  }
}

/** Makes it durable that the owner may soon be the other. */
async function prepareCommit ({ ownership, disks }: SwitchoverParts): Promise<void> {
  await ownership.committing()
  await disks.mayLose()
}

/** Killed before its memory was handed over, it would find its disks fenced, had those been prepared for
 * another owner. */
function goesOnByItself (machine: Machine): boolean {
  return isMemoryMachine(machine) && machine.goesOnByItself === true
}

/** The taps hold every write, or the machine does, so the residual is all there is. Were it not, the
 * digests would not show it: they are of what was sent. */
function checkNothingWritten ({ link, disks }: SwitchoverParts, before: number): void {
  const isClean = link.sender.stats().disks.every(({ dirtyBytes }) => dirtyBytes === 0)
  if (isClean && disks.writers().writes === before) return
  throw new BlockferryError('NOT_EQUAL', 'a disk was written while its writers were held')
}

/** The destination's digests, or null when it refuses because something differs. TIMEOUT when it says neither:
 * its storage may hang, while its link lives. */
async function askForCommit (
  link: SourceLink, commit: Messages['commit'], linkTimeoutMs: number
): Promise<string[] | null> {
  const committed = link.next('committed').then((answer) => answer.digests)
  const notEqual = link.next('notEqual').then(() => null)
  committed.catch(() => {})
  notEqual.catch(() => {})
  link.send('commit', commit)
  const answer = Promise.race([committed, notEqual])
  if (await inTime(answer, answerLimitMs(linkTimeoutMs))) return await answer
  throw new BlockferryError('TIMEOUT', 'the destination does not say whether it takes over')
}

/** The link broke. Before the commit message the disks are ours, and so they are when the destination said that
 * it has failed; else, after it, only that knows. Rejects with the error unless it has committed. */
async function digestsAfterBreak (
  { phase, link, askAfterBreak }: SwitchoverParts, error: BlockferryError
): Promise<Digests> {
  if (!phase.is('deciding') || link.peerGaveUp || error.code === 'NOT_EQUAL') throw error
  const digests = await askAfterBreak().catch((thrown: unknown) => { throw ownerUnknown(thrown) })
  if (digests !== null) return digests
  phase.to('pausing')
  throw error
}

/** It could not be asked: whatever the reason is, the destination may own the disks. */
function ownerUnknown (thrown: unknown): BlockferryError {
  const error = toBlockferryError(thrown)
  if (error.owner === 'unknown') return error
  return new BlockferryError('OWNER_UNKNOWN', `the destination could not be asked: ${error.message}`, {
    owner: 'unknown', resumable: true, cause: error
  })
}

async function unlessCancelled<T> ({ link, commands }: SwitchoverParts, promise: Promise<T>): Promise<T> {
  return await Promise.race([promise, link.failed, commands.cancelled])
}

/** Who waits for it hears of its failure, whenever that is. */
function inBackground (promise: Promise<void>): Promise<void> {
  promise.catch(() => {})
  return promise
}

/** Milliseconds since the last call. */
function stopwatch (): () => number {
  let last = performance.now()
  return () => {
    const before = last
    last = performance.now()
    return last - before
  }
}
