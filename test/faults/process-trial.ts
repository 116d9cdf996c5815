// A migration between two processes, with a fault of one or both at a moment that a seed has drawn;
// then what an operator does: ends what is left, recovers, and moves the disk on from its owner.
import { type ChildProcess, execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

import type { MigrationEvent } from '../../lib/index.js'
import { EventStream } from '../../lib/base/event-stream.js'
import type { CliProcess, Start } from '../cli/cli-process.js'
import { Random } from '../../testbed/support/random.js'
import { hashOf } from '../../testbed/support/images.js'
import type { Writer } from '../../testbed/support/writer.js'
import { FaultyLink, type Side } from '../../testbed/faults/faulty-link.js'
import { plan } from '../../testbed/faults/plan.js'
import { Sides } from './sides.js'
import { newTrial } from '../../testbed/faults/trial.js'
import type { Trial } from '../../testbed/faults/verdict.js'
import { checkJournals, checkOwner, checkSource, expect } from '../../testbed/faults/verdict.js'
import { makeDisk } from '../../testbed/faults/written-disk.js'

/** For a destination to do what it must not. */
const kLateMs = 300
/** For one that has the disk to end. */
const kEndMs = 20_000
/** Nothing is to be lost, however slow the machine is; a clock that jumps does so by more. */
const kPatientLink = '20s'
/** What a side that has ended in order leaves. */
const kKept = ['img', 'journal']

/** What befalls a process. */
export interface ProcessFault {
  /** How it is started. Default: as the others are. */
  start?: Start
  /** The disk is full, and in nobody's page cache. Default: it has little data. */
  isFull?: boolean
  /** When both processes run, before anything is sent. */
  begin? (): void
  /** Lets it happen. Answers how long it lasts: ms, or Infinity for good. */
  strike (victim: ChildProcess, random: Random): number
  heal (victim: ChildProcess): void
  /** The disk has to move in spite of it. Default: false. */
  isHarmless?: boolean
  /** When the process is gone; `wrong` takes what was. */
  end? (wrong: string[]): void
}

/** Faults by name; each victim has its own. */
export type ProcessFaults = Readonly<Record<string, () => ProcessFault>>

type Victims = ReadonlyMap<Side, ProcessFault>

export async function runProcessTrial (seed: number, faults: ProcessFaults): Promise<Trial> {
  const random = new Random(seed)
  const name = random.pick(Object.keys(faults))
  const hit = random.pick<Side[]>([['source'], ['destination'], ['source', 'destination']])
  const victims = new Map(hit.map((side) => [side, faults[name]!()]))
  const trial = newTrial(seed, `${name}: ${hit.join(' and ')}`)
  try {
    const isHarmless = [...victims.values()].every((fault) => fault.isHarmless === true)
    await using sides = new Sides(random.next() < 0.5, isHarmless ? kPatientLink : undefined)
    const isFull = [...victims.values()].some((fault) => fault.isFull)
    const image = makeDisk(sides.path('source', 'img'), seed, isFull)
    if (isFull) dropCache(image)
    const owner = await attempt(sides, victims, trial, random)
    if (owner !== null) await goOn(sides, owner, trial)
    expect(trial.wrong, trial.moved || !isHarmless, 'that should not have stopped it')
  } finally {
    for (const fault of victims.values()) fault.end?.(trial.wrong)
  }
  return trial
}

function dropCache (path: string): void {
  execFileSync('dd', [
    'if=/dev/null', `of=${path}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0',
    'status=none'
  ])
}

/** Answers who owns the disk then; null: that is settled nowhere. */
async function attempt (
  sides: Sides, victims: Victims, trial: Trial, random: Random
): Promise<Side | null> {
  const [source, destination] = await Promise.all([
    sides.serve('source', victims.get('source')?.start),
    sides.receive('destination', victims.get('destination')?.start)
  ])
  const processes = { source, destination }
  for (const fault of victims.values()) fault.begin?.()
  const writer = await sides.writer('source')
  const link = await FaultyLink.to(destination.address)
  const events = new EventStream<MigrationEvent>()
  const heal = () => each(victims, processes, (fault, victim) => fault.heal(victim))
  const strike = () => Math.min(
    ...each(victims, processes, (fault, victim) => fault.strike(victim, random)))
  const forget = plan(events, link, random, { strike, heal })
  const error = await sides.send('source', link.address, {
    reconnect: random.pick([0, '1s', '3s']), streams: 1 + random.below(4),
    budgets: { bandwidth: random.pick(['5MB/s', '20MB/s', '1GB/s']), deadline: '2min' }
  }, (event) => events.emit(event as MigrationEvent))
  forget()
  heal()
  trial.moved = error === null
  trial.error = error
  // What it had received and not read may make it commit, too late.
  const late = sleep(trial.moved ? kEndMs : kLateMs, null, { ref: false })
  await Promise.race([destination.ended, late])
  const state = await sides.stateOf('source', source)
  if (state !== null) await checkSource(state, writer, trial)
  destination.child.kill(random.pick(['SIGTERM', 'SIGKILL']))
  source.child.kill('SIGKILL')
  await Promise.all([writer.stop(), source.ended, destination.ended])
  await link.close()
  return await judge(sides, writer, trial)
}

function each<T> (
  victims: Victims, processes: Readonly<Record<Side, CliProcess>>,
  call: (fault: ProcessFault, victim: ChildProcess) => T
): T[] {
  return [...victims].map(([side, fault]) => call(fault, processes[side].child))
}

/** Both have ended: what they have left decides. */
async function judge (sides: Sides, writer: Writer, trial: Trial): Promise<Side | null> {
  const { here, there } = await checkJournals({
    source: sides.path('source', 'journal'), destination: sides.path('destination', 'journal')
  }, trial)
  await checkOwner({
    here, there, writer, mayDiffer: false,
    image: sides.path('source', 'img'), target: sides.path('destination', 'img')
  }, trial)
  expect(trial.wrong, here !== there, 'nobody owns it')
  if (here === there) return null
  return here ? 'source' : 'destination'
}

/** The owner takes writes, and the disk moves from there to the other side. */
async function goOn (sides: Sides, from: Side, { wrong }: Trial): Promise<void> {
  const to = from === 'source' ? 'destination' : 'source'
  const [serve, receive] = await Promise.all([sides.serve(from), sides.receive(to)])
  const writer = await sides.writer(from)
  const error = await sides.send(from, receive.address, {}, () => {})
  if (error !== null) receive.child.kill('SIGTERM')
  await Promise.all([receive.ended, writer.stop()])
  await serve.end()
  expect(wrong, error === null, `it did not move on: ${error?.code}: ${error?.message}`)
  if (error !== null) return
  const [image, target] = [sides.path(from, 'img'), sides.path(to, 'img')]
  expect(wrong, await hashOf(image) === await hashOf(target), 'it moved on: both are equal')
  expect(wrong, writer.writes > 0, `the owner took no write: ${String(writer.error)}`)
  expect(wrong, writer.lostIn(target).length === 0, 'writes were lost when it moved on')
  expect(wrong, sides.left(from).join() === kKept.join(), `it has left ${sides.left(from).join()}`)
}
