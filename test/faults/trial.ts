// One migration of a disk that is written, with faults of its link that a seed has drawn, and what
// became of the disk. The same seed draws the same faults at the same places; what the threads make
// of them differs from run to run.
import type { BlockferryError, Migration, Receiver, Report, TlsOptions } from '../../lib/index.js'
import { migrate, receive } from '../../lib/index.js'
import { Random } from '../simulator/random.js'
import { FaultyLink } from './faulty-link.js'
import { linkFaults } from './link-faults.js'
import { checkJournals, checkOwner } from './verdict.js'
import { kData, WrittenDisk } from './written-disk.js'

export interface Trial {
  seed: number
  /** Of linkFaults. */
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

export interface Setting {
  source: WrittenDisk
  target: string
  receiver: Receiver
  link: FaultyLink
  journals: { source: string, destination: string } | null
  tls: TlsOptions | false
}

/** Runs a trial, cleans up after it, and says what happened. With a key every second one is over TLS. */
export async function runTrial (
  seed: number, key: TlsOptions | false, only?: string
): Promise<Trial> {
  const random = new Random(seed)
  const drawn = random.pick(Object.keys(linkFaults))
  const fault = only ?? drawn
  await using source = await WrittenDisk.open(seed)
  const target = source.path('target.img')
  const journals = random.next() < 0.5
    ? { source: source.path('a.journal'), destination: source.path('b.journal') }
    : null
  const tls = random.next() < 0.5 ? key : false
  await using receiver = await receive({
    disks: [{ target, name: 'web' }], linkTimeout: '1s', tls,
    ...(journals !== null && { journal: journals.destination })
  })
  const link = await FaultyLink.to(receiver.address)
  try {
    return await move({ source, target, receiver, link, journals, tls }, random, seed, fault)
  } finally {
    await link.close()
    await receiver.close()
    for (const tap of receiver.taps.values()) await tap.close()
  }
}

async function move (
  setting: Setting, random: Random, seed: number, fault: string
): Promise<Trial> {
  const { source, link, journals, tls } = setting
  const migration = migrate({
    disks: [{ source: source.tap }], destination: link.address, linkTimeout: '1s', tls,
    streams: 1 + random.below(4),
    compression: random.pick(['auto', 'on', 'off'] as const),
    reconnect: random.pick([0, '1s', '4s']),
    equality: random.next() < 0.8,
    budgets: { bandwidth: random.pick(['10MB/s', '30MB/s', '1GB/s']) },
    ...(journals !== null && { journal: journals.source })
  })
  const resumeMs = timeLosses(migration)
  plan(migration, link, random, fault)
  const { report, error } = await migration.then(
    (report) => ({ report, error: null }),
    (thrown: unknown) => ({ report: null, error: thrown as BlockferryError })
  )
  const trial: Trial = {
    seed, fault, error, moved: report !== null,
    resumeMs,
    resentShare: report === null ? null : resentShare(report, link.carried.source),
    ownersWrong: 0, writesLost: 0, wrong: []
  }
  link.heal()
  await checkOwner(setting, trial)
  await checkJournals(setting, trial)
  return trial
}

/** Draws where the faults strike: some bytes on, or at a step of the switchover. */
function plan (migration: Migration, link: FaultyLink, random: Random, fault: string): void {
  const strike = () => {
    const lastsMs = linkFaults[fault]!(link, random)
    if (lastsMs < Infinity) setTimeout(() => link.heal(), lastsMs).unref()
  }
  const inTheSwitchover = random.next() < 0.5
  if (inTheSwitchover) {
    const step = random.pick(['pause', 'residual', 'commit'])
    const bytes = random.pick([0, 1, 100, 10_000])
    let isDue = true
    migration.on('switchover', (event) => {
      if (event.step !== step || !isDue) return
      isDue = false
      if (bytes === 0) strike()
      else link.after(bytes, strike)
    })
    return
  }
  link.after(random.scaleBetween(10, 4 * kData), strike)
  if (random.next() < 0.5) {
    migration.on('reconnected', () => link.after(random.scaleBetween(10, 4 * kData), strike))
  }
}

/** ms from each loss of a link until it was back; filled in as it goes. */
function timeLosses (migration: Migration): number[] {
  const resumeMs: number[] = []
  let lostAt: number | null = null
  migration.on('reconnecting', () => { lostAt ??= performance.now() })
  migration.on('reconnected', () => {
    if (lostAt !== null) resumeMs.push(performance.now() - lostAt)
    lostAt = null
  })
  return resumeMs
}

function resentShare ({ dirty }: Report, sent: number): number {
  return Math.max(0, (sent - kData - dirty.bytes) / kData)
}
