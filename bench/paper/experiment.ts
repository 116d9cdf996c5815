// One run: a guest boots, its clients come, it moves, and all that they saw becomes figures.

import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { lostWrites } from '../../testbed/guests/log.js'
import { guestAddress, Hosts } from '../../testbed/hosts/hosts.js'
import type { Link } from '../../testbed/hosts/link.js'
import type { Figures } from '../support/figures.js'
import type { Case } from './cases.js'
import { Clients, gapWithin, type Trace } from './clients.js'
import { differingBlocks, isWhole } from './images.js'
import { type Moved, now, type Prepare, type Site } from './site.js'
import { Stress } from './stress.js'
import { Watch } from './watch.js'

/** The times of a run: milliseconds since 1970. */
export interface Times {
  /** The clients have started. */
  readonly fromMs: number
  readonly beginMs: number
  readonly stopMs: number
  readonly resumeMs: number
  readonly endMs: number
}

/** What a plot needs. */
export interface Recording {
  readonly times: Times
  readonly traces: readonly Trace[]
}

export interface Run {
  readonly figures: Figures
  /** Null when the machine did not move. */
  readonly recording: Recording | null
}

/** Until the clients' programs have started. */
const startMs = 1000

/** Runs a case once with one contender. */
export async function experiment (one: Case, prepare: Prepare, folder: string): Promise<Run> {
  const { setting } = one
  const hosts = await Hosts.make(setting.link === undefined ? {} : { link: setting.link })
  try {
    const site = await prepare({ hosts, setting, folder })
    try {
      return await moveUnderClients(one, hosts, site)
    } finally {
      await site.close()
    }
  } finally {
    await hosts.close()
  }
}

async function moveUnderClients (one: Case, hosts: Hosts, site: Site): Promise<Run> {
  const watch = await Watch.start(site.source, site.destination)
  const options = { namespace: hosts.client, address: guestAddress }
  const stress = one.workload === 'diabolical' ? await Stress.start(hosts.client) : null
  const clients = new Clients(one.workload, one.setting, options)
  try {
    await sleep(startMs)
    const fromMs = now()
    await stress?.note()
    await sleep(one.setting.watchMs)
    await stress?.note()
    const bytesBefore = await wireBytes(hosts.link)
    const moved = await site.move()
    const sent = (await wireBytes(hosts.link)) - bytesBefore
    if (moved.reason !== null) return notMoved(moved.reason, sent)
    const { stopMs, resumeMs } = await watch.pause()
    await stress?.note()
    // After a pause a connection may take as long again to come back, or twice as long.
    await sleep(one.setting.watchMs + 2 * (resumeMs - stopMs))
    const times = { fromMs, beginMs: moved.beginMs, stopMs, resumeMs, endMs: now() }
    const recording = { times, traces: await clients.stop() }
    const disks = await checkDisks(site, watch, recording.traces, moved)
    const figures = { ...summarize(recording, sent, moved), ...stress?.figures(), ...disks }
    return { figures, recording }
  } finally {
    watch.close()
    await clients.kill()
  }
}

async function wireBytes (link: Link): Promise<number> {
  const { aToB, bToA } = await link.stats()
  return aToB.bytes + bToA.bytes
}

function notMoved (reason: string, wireBytes: number): Run {
  const figures = { seconds: null, downtimeMs: null, disruptionMs: null, wireBytes, reason }
  return { figures: { ...figures, equal: null }, recording: null }
}

function summarize ({ times, traces }: Recording, wireBytes: number, moved: Moved): Figures {
  const { fromMs, beginMs, stopMs, resumeMs } = times
  const gaps = traces.map((trace) => [trace.name, gapAround(trace, times)] as const)
  const before = traces.map((trace) => gapWithin(trace, fromMs, beginMs) ?? 0)
  return {
    seconds: (resumeMs - beginMs) / 1000,
    downtimeMs: resumeMs - stopMs,
    allowedMs: moved.allowedMs,
    reportedDowntimeMs: moved.reportedDowntimeMs,
    disruptionMs: Math.max(...gaps.map(([, ms]) => ms)),
    ...Object.fromEntries(gaps.map(([name, ms]) => [`${name}Ms`, ms])),
    baselineMs: Math.max(...before),
    wireBytes,
    throttleMs: moved.throttleMs,
    ...moved.details,
    connectionsBroken: traces.reduce((sum, { broken }) => sum + broken, 0)
  }
}

// A gap that never ended would be none by gapWithin().
function gapAround (trace: Trace, { beginMs, resumeMs, endMs }: Times): number {
  if (gapWithin(trace, resumeMs, Infinity) === null) {
    const seconds = ((endMs - resumeMs) / 1000).toFixed(1)
    throw new Error(`the ${trace.name} client got no answer in the ${seconds} s after the move`)
  }
  return gapWithin(trace, beginMs, Infinity) ?? 0
}

async function checkDisks (
  site: Site,
  watch: Watch,
  traces: readonly Trace[],
  moved: Moved
): Promise<Figures> {
  const { source, destination } = site.images
  const written = await watch.writtenThere(dirname(destination))
  await site.release()
  const acknowledged = traces.flatMap(({ acknowledged }) => acknowledged)
  const writers = traces.filter(({ name }) => name === 'write')
  const lost = writers.length > 0 ? (await lostWrites(destination, acknowledged)).length : null
  const isShared = source === destination
  const differs = isShared ? null : differingBlocks(source, destination, written)
  const verdicts = [
    moved.reportedEqual !== false,
    (lost ?? 0) === 0,
    (differs ?? 0) === 0,
    await isWhole(destination)
  ]
  const writtenBytes = written.reduce((sum, { length }) => sum + length, 0)
  const figures = { writesLost: lost, differingBlocks: differs, writtenBytes }
  return { ...figures, reportedEqual: moved.reportedEqual, equal: verdicts.every((ok) => ok) }
}
