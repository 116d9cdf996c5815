// The switchover: stop the writers, send the residual, let the destination decide.
//
// The destination decides alone: it commits if everything has arrived and both digests are equal.
// So the commit message goes out right behind the residual and the memory, and the pause costs one
// round trip.
// From that message on, until the answer, this side may not let a write through whatever happens:
// the taps stay on hold.
import { BlockferryError } from '../base/errors.js'
import type { Machine } from '../machine/machine.js'
import { isMemoryMachine } from '../machine/machine.js'
import { answerLimitMs, inTime } from '../base/in-time.js'
import { machineCall } from '../session/machine-call.js'
import type { MemoryTransfer } from './memory-transfer.js'
import type { Messages } from '../session/messages.js'
import type { DowntimePhases } from '../session/report.js'
import type { SourceDisks } from './disks.js'
import type { SourceLink } from './link.js'

export interface SwitchoverResult {
  /** Null: it was taken back and copying goes on; `reason` says why. */
  destination: string[] | null
  source: string[]
  reason: string
  /** The destination is ready for the next mark. */
  settled: Promise<unknown>
}

export interface SwitchoverNeeds {
  link: SourceLink
  disks: SourceDisks
  machine: Machine
  /** Of a machine whose memory moves: it has paused itself already. */
  memory: MemoryTransfer | null
  /** The pause is taken back when the residual has not left after this long. */
  residualLimitMs: number
  linkTimeoutMs: number
  /** Filled in as it goes; what an exception leaves in it holds, too. */
  phases: DowntimePhases
  /** Waits for a checkpoint that is running: the last mark can't overtake it. */
  settle: () => Promise<void>
  /** Makes it durable that the owner may soon be the other. */
  prepareCommit: () => Promise<void>
  /** Called when the commit message is about to go: from here on that is so. */
  committing: () => void
  step: (step: 'pause' | 'residual' | 'commit') => void
  /** Rejects when the user cancels; looked at until the commit message goes. */
  cancelled: Promise<never>
}

/** A wrong block is sent a second time inside the pause; if that doesn't mend it the migration
 * fails. */
const kTries = 2

export async function switchOver (needs: SwitchoverNeeds): Promise<SwitchoverResult> {
  const { link, disks, machine, memory, step, phases } = needs
  const settle = () => Promise.race([needs.settle(), link.failed, needs.cancelled])
  // A machine that has paused itself waits for nothing that can go on beside it.
  if (memory === null) await settle()
  const clock = stopwatch()
  step('pause')
  if (memory === null) await machineCall('pause', () => machine.pause?.())
  phases.pause = clock()
  disks.hold()
  link.send('switchover', {})
  // Both go beside the residual, if they may.
  const isPreparedLater = goesOnByItself(machine)
  const prepared = isPreparedLater ? Promise.resolve() : needs.prepareCommit()
  prepared.catch(() => {})
  const memoryLeft = memory?.finish() ?? Promise.resolve()
  memoryLeft.catch(() => {})
  await Promise.race([disks.drain(), link.failed, needs.cancelled])
  if (!await inTime(settle(), needs.residualLimitMs)) {
    return { destination: null, source: [], reason: 'a checkpoint took too long', settled: needs.settle() }
  }
  phases.drain = clock()
  const written = disks.writers().writes
  let source: string[] = []
  for (let tries = 1; ; tries++) {
    step('residual')
    const { mark, left, verified } = link.finish()
    const allLeft = Promise.all([left, memoryLeft, prepared]).then(() => {})
    if (!await inTime(Promise.race([allLeft, link.failed, needs.cancelled]), needs.residualLimitMs)) {
      link.sender.unfinish()
      return { destination: null, source, reason: 'the residual took too long', settled: verified }
    }
    if (isPreparedLater && tries === 1) await needs.prepareCommit()
    await disks.drain()
    phases.residual += clock()
    checkNothingWritten(needs, written)
    source = disks.taps.map((_tap, index) => link.sender.digest(index))
    step('commit')
    needs.committing()
    const run = memory === null || memory.running
    const destination = await askForCommit(link, { mark, digests: source, run }, needs.linkTimeoutMs)
    phases.commit += clock()
    if (destination !== null) return { destination, source, reason: '', settled: verified }
    const { wrong } = await verified
    if (wrong.length === 0 || tries === kTries) {
      throw new BlockferryError('NOT_EQUAL', 'the destination differs from the source at the pause', {
        owner: 'source', resumable: true
      })
    }
    link.remark(wrong)
  }
}

/** Killed before its memory was handed over, it would find its disks fenced, had those been prepared for
 * another owner. */
function goesOnByItself (machine: Machine): boolean {
  return isMemoryMachine(machine) && machine.goesOnByItself === true
}

/** The taps hold every write, or the machine does, so the residual is all there is. Were it not, the
 * digests would not show it: they are of what was sent. */
function checkNothingWritten ({ link, disks }: SwitchoverNeeds, before: number): void {
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

/** Milliseconds since the last call. */
function stopwatch (): () => number {
  let last = performance.now()
  return () => {
    const before = last
    last = performance.now()
    return last - before
  }
}
