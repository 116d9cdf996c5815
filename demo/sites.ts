// `npm run demo -- sites`: a virtual machine with a web server moves to a site with other
// addresses, with its disk, its memory and its clients' connections; nothing is changed inside. The
// sites are network namespaces here, which takes root; the machine runs under QEMU's software emulation.
//
// How a tool of your own does it is in testbed/tools/source.ts, destination.ts and network.ts.
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

import { formatBytes, formatTime } from '../lib/cli/format.js'
import { ProgressDisplay } from '../lib/cli/progress-display.js'
import { redirectEventText } from '../lib/cli/redirect-text.js'
import { reportText } from '../lib/cli/report-text.js'
import type { Report } from '../lib/index.js'
import { missingNeed } from '../testbed/support/needs.js'
import { MovingSite, type Happened } from '../testbed/sites/moving-site.js'
import { missing } from '../testbed/sites/setting.js'
import { roundTripMs, untilForgotten, type SiteTrace } from '../testbed/sites/site-clients.js'
import { kFresh, kHostA, kHostB, kMachine, kName } from '../testbed/sites/sites.js'

const kHelp = `Usage: npm run demo -- sites

A web server moves from site A to site B, which has other addresses. Takes about two minutes.`

const { values } = parseArgs({ options: { help: { type: 'boolean', short: 'h', default: false } } })

const kSetting = {
  family: 4,
  link: { rateBitsPerSecond: 50e6, delayMs: 10 },
  diskBytes: 2 ** 28,
  contentBytes: 2 ** 24,
  memoryMiB: 128,
  quiet: '5s'
} as const

let steps = 0
function step (text: string): void {
  console.log(`\n${++steps}. ${text}`)
}

function say (text: string): void {
  console.log(`   ${text}`)
}

async function demo (site: MovingSite): Promise<string[]> {
  step(`A web server at site A, ${kName}`)
  say('site A is 10.10.0.0/24, site B 10.20.0.0/24 behind 50 Mbit/s and 20 ms of round trip; the')
  say('router between them and the clients drops what comes with another site\'s address')
  await site.boot()
  say(`nginx in a Linux guest at ${kMachine[4]}, and a name server (BIND) that says so`)
  const before = await roundTripMs(site.sites, kMachine[4])

  step('Its clients')
  const clients = site.clients()
  say('old connections: a download, an echo that counts, a stream of events, one that is idle')
  say('new ones: two clients that ask for the name, one of them keeps answers for twice their time')
  await sleep(1500)

  step('Site B waits')
  await site.expect()
  say('an empty file, and a QEMU that waits for a machine')

  step('The move')
  const { report, happened } = await move(site)
  say(reportText(report, 'site B').replaceAll('\n', '\n   '))
  await untilForgotten(clients)
  const [through, direct] = [
    await roundTripMs(site.sites, kMachine[4]), await roundTripMs(site.sites, kFresh[4])
  ]
  say(`round trip to the machine: ${formatTime(before)} before, now ${formatTime(through)} through ` +
    `the tunnel and ${formatTime(direct)} to its new address`)

  step('What the clients saw')
  const traces = await clients.stop()
  for (const trace of traces) say(words(trace))

  step('The end of the tunnel')
  say('the clients have gone; now nobody uses the old address')
  await site.untilEnded((one) => { tell(one, happened) })
  say(`the name is ${await site.names.records('A')} (TTL and address)`)
  const wrongSources = await site.sites.wrongSources()
  say(`the router has dropped ${wrongSources} packets with a wrong source`)
  return brokenPromises(traces, happened, wrongSources)
}

async function move (site: MovingSite): Promise<{ report: Report, happened: Happened[] }> {
  say(`${kHostA[4]} to ${kHostB[4]}`)
  const display = new ProgressDisplay(process.stderr, '   ')
  const happened: Happened[] = []
  const report = await site.move('500ms', (one) => {
    if (one.event.event !== 'redirect') display.show(one.event)
    tell(one, happened)
  })
  return { report, happened }
}

function tell (one: Happened, happened: Happened[]): void {
  happened.push(one)
  const { event, redirect } = one.event
  if (event === 'redirect' && redirect.event !== 'connections') say(redirectEventText(redirect))
}

function words (trace: SiteTrace): string {
  const { name, longestGapMs, bytes, idleMs, addresses, samples, troubles } = trace
  const gap = `longest gap ${formatTime(longestGapMs)}`
  const end = troubles === 0 ? 'nothing broke' : `${troubles} TROUBLES`
  const late = samples.length - Math.max(0, addresses.indexOf(kFresh[4]))
  const resolved = `${samples.length} new connections, the last ${late} to ${kFresh[4]}, ${gap}`
  const texts: Record<string, string> = {
    download: `${formatBytes(bytes)} on one connection, each byte checked, ${gap}`,
    echo: `${samples.length} numbers came back in order, ${gap}`,
    events: `${samples.length} events in order, ${gap}`,
    idle: `idle for ${formatTime(idleMs)}, then it spoke`,
    honest: resolved,
    lazy: resolved
  }
  return `${name}: ${texts[name]}; ${end}`
}

function brokenPromises (
  traces: readonly SiteTrace[], happened: readonly Happened[], wrongSources: number
): string[] {
  const broken = traces.filter(({ troubles }) => troubles > 0)
    .map(({ name }) => `a client (${name}) was disturbed`)
  const late = traces
    .filter(({ addresses }) => addresses.length > 0 && addresses.at(-1) !== kFresh[4])
    .map(({ name }) => `new clients (${name}) did not come to the new address`)
  const end = happened.find(({ event }) => event.redirect?.event === 'ended')?.event.redirect.reason
  return [
    ...broken, ...late,
    ...(end === 'unused' ? [] : [`the tunnel ended by ${end}`]),
    ...(wrongSources === 0 ? [] : ['packets had a wrong source'])
  ]
}

async function main (): Promise<number> {
  if (values.help) {
    console.log(kHelp)
    return 0
  }
  const need = await missingNeed() ?? await missing()
  if (need !== false) {
    console.error(`This demo can't run here: ${need}`)
    return 1
  }
  const site = await MovingSite.make(kSetting)
  try {
    const broken = await demo(site)
    console.log(broken.length === 0
      ? '\nEvery connection went on, and new clients found the new address.'
      : `\nThe demo failed: ${broken.join('; ')}.`)
    return broken.length === 0 ? 0 : 1
  } catch (error) {
    console.error(`\nThe demo failed: ${(error as Error).message}`)
    return 1
  } finally {
    await site.close()
  }
}

process.exitCode = await main()
