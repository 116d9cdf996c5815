// One run: a guest boots at site A, its clients come, it moves to site B, and all that they saw
// becomes figures.

import { type Happened, MovingSite } from '../../testbed/sites/moving-site.js'
import { roundTripMs, type SiteTrace, untilForgotten } from '../../testbed/sites/site-clients.js'
import { kFresh, kMachine } from '../../testbed/sites/sites.js'
import type { Figures } from '../support/figures.js'
import type { SitesCase } from './cases.js'

export async function experiment ({ options, downtime }: SitesCase): Promise<Figures> {
  const site = await MovingSite.make(options)
  try {
    return await moveUnderClients(site, options.family, downtime)
  } finally {
    await site.close()
  }
}

async function moveUnderClients (
  site: MovingSite,
  family: 4 | 6,
  downtime: string
): Promise<Figures> {
  await site.boot()
  const [old, fresh] = [kMachine[family], kFresh[family]]
  const roundTripBeforeMs = await roundTripMs(site.sites, old)
  await site.expect()
  const clients = site.clients()
  const happened: Happened[] = []
  const note = (one: Happened): void => void happened.push(one)
  const report = await site.move(downtime, note)
  await untilForgotten(clients)
  const roundTripTunnelMs = await roundTripMs(site.sites, old)
  const roundTripNewMs = await roundTripMs(site.sites, fresh)
  const traces = await clients.stop()
  const goneMs = Date.now()
  await site.untilEnded(note)
  const ended = redirection(happened, 'ended')
  const wrongSources = await site.sites.wrongSources()
  const seen = summarize(traces, fresh, redirection(happened, 'switched').atMs)
  return {
    seconds: report.durationMs / 1000,
    downtimeMs: report.downtimeMs,
    ...seen,
    tunnelEndMs: ended.atMs - goneMs,
    tunnelEnd: ended.event.redirect.reason,
    ...{ roundTripBeforeMs, roundTripTunnelMs, roundTripNewMs, wrongSources },
    equal: report.equal === true && seen['connectionsBroken'] === 0 && wrongSources === 0
  }
}

function redirection (happened: readonly Happened[], name: string): Happened {
  const found = happened.find(({ event }) => event.redirect?.event === name)
  if (found === undefined) throw new Error(`the redirection was never ${name}`)
  return found
}

function summarize (traces: readonly SiteTrace[], fresh: string, switchedAtMs: number): Figures {
  const isNew = ({ addresses }: SiteTrace) => addresses.length > 0
  const longest = (some: readonly SiteTrace[]) => Math.max(...some.map((one) => one.disruptionMs))
  const gaps = traces.filter(({ samples }) => samples.length > 1)
  const idle = traces.find(({ name }) => name === 'idle')
  return {
    connectionsBroken: traces.reduce((sum, { troubles }) => sum + troubles, 0),
    downloadBytes: traces.find(({ name }) => name === 'download')?.bytes ?? null,
    idleSeconds: (idle?.idleMs ?? 0) / 1000,
    oldGapMs: longest(gaps.filter((one) => !isNew(one))),
    newGapMs: longest(gaps.filter(isNew)),
    ...Object.fromEntries(gaps.map((one) => [`${one.name}GapMs`, one.disruptionMs])),
    ...Object.fromEntries(
      traces.filter(isNew).map((one) => [`${one.name}LastMs`, lastMs(one, fresh, switchedAtMs)])
    )
  }
}

/** From the switchover to the start of the last request that went to the old address. Null: they
 * never came to the new one. */
function lastMs (trace: SiteTrace, fresh: string, switchedAtMs: number): number | null {
  const { addresses, samples, originMs } = trace
  if (addresses.at(-1) !== fresh) return null
  const last = samples[addresses.findLastIndex((address) => address !== fresh)]
  return last === undefined ? 0 : Math.max(0, Math.round(last.startMs + originMs - switchedAtMs))
}
