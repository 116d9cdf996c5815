// One migration of a disk that is written, with faults that a seed has drawn, and what became of the
// disk. The same seed draws the same faults at the same places; what the threads make
// of them differs from run to run.
import { truncateSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import type { BlockferryError, MigrateOptions, Migration, Receiver, Report, TlsOptions } from '../../lib/index.js'
import { migrate, receive } from '../../lib/index.js'
import { Random } from '../support/random.js'
import { FaultyLink } from './faulty-link.js'
import { plan } from './plan.js'
import { checkJournals, checkOwner, checkSource, type Journals, type Trial } from './verdict.js'
import { kData, kSize, type Way, WrittenDisk } from './written-disk.js'

/** For what the link held back to reach the destination, too late. */
const kLateMs = 300

/** What goes wrong in a trial. */
export interface Fault {
  /** By which ways its disks are opened. Default: as they are. */
  ways?: { source: (image: string) => Promise<Way>, target: (image: string) => Promise<Way> }
  /** Lets it happen. Answers how long it lasts: ms, or Infinity for good. */
  strike (link: FaultyLink, random: Random): number
  heal (link: FaultyLink): void | Promise<void>
  /** Of the writer. Default: 1. */
  gapMs?: number
  /** Beside the bandwidth. */
  budgets?: MigrateOptions['budgets']
  /** Only the equality check can notice it. Default: false. */
  isSilent?: boolean
  /** When nobody has the disks open any more. */
  end? (): Promise<void>
}

/** Faults by name; each trial makes its own. */
export type Faults = Readonly<Record<string, () => Fault>>

interface Setting {
  source: WrittenDisk
  target: string
  receiver: Receiver
  link: FaultyLink
  journals: Journals | null
  tls: TlsOptions | false
  /** A disk lies. */
  mayDiffer: boolean
}

export function newTrial (seed: number, fault: string): Trial {
  return {
    seed, fault, error: null, moved: false, resumeMs: [], resentShare: null,
    ownersWrong: 0, writesLost: 0, wrong: []
  }
}

/** Runs a trial with one of the faults, cleans up after it, and says what happened. With a key every
 * second one is over TLS. */
export async function runTrial (
  seed: number, faults: Faults, key: TlsOptions | false = false
): Promise<Trial> {
  const random = new Random(seed)
  const name = random.pick(Object.keys(faults))
  const fault = faults[name]!()
  await using source = await WrittenDisk.open(seed, fault.ways?.source, fault.gapMs)
  if (fault.end !== undefined) source.atEnd(fault.end)
  const trial = newTrial(seed, name)
  await runBetween(source, fault, trial, random, key)
  return trial
}

async function runBetween (
  source: WrittenDisk, fault: Fault, trial: Trial, random: Random, key: TlsOptions | false
): Promise<void> {
  const target = source.path('target.img')
  const way = fault.ways === undefined
    ? { path: target, direct: false }
    : await fault.ways.target(emptyDisk(target))
  const journals = random.next() < 0.5
    ? { source: source.path('a.journal'), destination: source.path('b.journal') }
    : null
  const tls = random.next() < 0.5 ? key : false
  await using receiver = await receive({
    disks: [{ destination: way.path, direct: way.direct, name: 'web' }], linkTimeout: '1s', tls,
    ...(journals !== null && { journal: journals.destination })
  })
  const link = await FaultyLink.to(receiver.address)
  try {
    const mayDiffer = fault.isSilent === true
    await move({ source, target, receiver, link, journals, tls, mayDiffer }, fault, trial, random)
  } finally {
    await link.close()
    await receiver.close()
    for (const tap of receiver.taps.values()) await tap.close()
  }
}

function emptyDisk (path: string): string {
  writeFileSync(path, '')
  truncateSync(path, kSize)
  return path
}

async function move (
  setting: Setting, fault: Fault, trial: Trial, random: Random
): Promise<void> {
  const { source, link, journals, tls } = setting
  const migration = migrate({
    disks: [{ source: source.tap }], destination: link.address, linkTimeout: '1s', tls,
    streams: 1 + random.below(4),
    compression: random.pick(['auto', 'on', 'off'] as const),
    reconnect: random.pick([0, '1s', '4s']),
    equality: setting.mayDiffer || random.next() < 0.8,
    budgets: { bandwidth: random.pick(['10MB/s', '30MB/s', '1GB/s']), ...fault.budgets },
    ...(journals !== null && { journal: journals.source })
  })
  timeLosses(migration, trial.resumeMs)
  const forget = plan(migration, link, random, {
    strike: () => fault.strike(link, random), heal: () => fault.heal(link)
  })
  try {
    const report = await migration
    trial.moved = true
    trial.resentShare = resentShare(report, link.carried.source)
  } catch (error) {
    trial.error = error as BlockferryError
  }
  forget()
  await fault.heal(link)
  await judge(setting, trial)
}

async function judge (
  { source: { tap, image, writer }, target, receiver, journals, mayDiffer }: Setting, trial: Trial
): Promise<void> {
  if (trial.moved) await receiver.done
  else await sleep(kLateMs)
  const there = receiver.taps.get('web')?.state === 'open'
  await checkSource(tap.state, writer, trial)
  await checkOwner({ here: tap.state === 'open', there, writer, image, target, mayDiffer }, trial)
  if (journals === null) return
  await receiver.close()
  await checkJournals(journals, trial)
}

/** ms from each loss of a link until it was back; filled in as it goes. */
function timeLosses (migration: Migration, resumeMs: number[]): void {
  let lostAt: number | null = null
  migration.on('reconnecting', () => { lostAt ??= performance.now() })
  migration.on('reconnected', () => {
    if (lostAt !== null) resumeMs.push(performance.now() - lostAt)
    lostAt = null
  })
}

function resentShare ({ dirty }: Report, sent: number): number {
  return Math.max(0, (sent - kData - dirty.bytes) / kData)
}
