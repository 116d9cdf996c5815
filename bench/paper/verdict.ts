// What the figures come to beside the goals. Only figures that were measured are mentioned, and a
// goal that is missed is no failure of the benchmark.

import { type CaseReport, type Figures, ours } from '../support/figures.js'

/** Disruption in ms: of web loads in the LAN, and of any in the WAN. */
const goals = { lanWeb: 100, wan: 1000 }

/** Prints the verdict on all cases that were run. */
export function printVerdict (reports: readonly CaseReport[]): void {
  const floor = reports.find(({ name }) => name.endsWith('-floor'))?.peers['floor'] ?? {}
  const lines = reports.flatMap((report) => verdict(report, floor))
  if (lines.length === 0) return
  console.log('\nDisruption (the longest gap of any client, less its interval), and the goals')
  for (const line of lines) console.log(`  ${line}`)
}

function verdict (report: CaseReport, floor: Figures): string[] {
  const { name, ours: own, peers } = report
  if (name.endsWith('-floor')) return [`${name}: ${aboutFloor(floor)}`]
  if (own === null) return []
  const mine = number(own, 'disruptionMs')
  if (mine === null) return [`${name}: ${ours} has no figure: ${reason(own)}`]
  const beside = Object.entries(peers).map(([peer, figures]) => compare(report, peer, figures))
  return [`${name}: ${ours} ${mine} ms; ${[...beside, ...goalOf(name, mine, floor)].join('; ')}`]
}

// On a machine that is shared one run says little: so also, in how many turns ours was lower.
function compare ({ ours: own, runs }: CaseReport, peer: string, figures: Figures): string {
  const theirs = number(figures, 'disruptionMs')
  if (theirs === null) return `${peer} has no figure: ${reason(figures)}`
  const pairs = (runs[ours] ?? []).map((run, turn) => [
    number(run, 'disruptionMs') ?? Infinity,
    number(runs[peer]?.[turn] ?? {}, 'disruptionMs') ?? Infinity
  ])
  const wins = pairs.filter(([one = 0, other = 0]) => one < other).length
  const word = (number(own ?? {}, 'disruptionMs') ?? Infinity) < theirs ? 'kept' : 'missed'
  return `${peer} ${theirs} ms (${word}: below it; so in ${wins} of ${pairs.length} turns)`
}

function goalOf (name: string, mine: number, floor: Figures): string[] {
  const [link = '', workload = ''] = name.split('-')
  const isWeb = workload === 'static' || workload === 'dynamic'
  if (link === 'wan' && isWeb) return [goal(mine, goals.wan)]
  if (link !== 'lan' || !isWeb) return []
  const base = number(floor, 'disruptionMs')
  const above = base === null ? [] : [`${mine - base} ms above the floor`]
  return [goal(mine, goals.lanWeb), ...above]
}

function goal (mine: number, limit: number): string {
  return `${mine < limit ? 'kept' : 'missed'}: below ${limit} ms`
}

// What a pause of the emulated machine costs clients when memory alone moves.
function aboutFloor (floor: Figures): string {
  const [gap, pause] = [number(floor, 'disruptionMs'), number(floor, 'downtimeMs')]
  if (gap === null || pause === null) return `no figure: ${reason(floor)}`
  return `${gap} ms when memory alone moves, of which the pause is ${Math.round(pause)} ms`
}

function number (figures: Figures, key: string): number | null {
  const value = figures[key]
  return typeof value === 'number' ? value : null
}

function reason (figures: Figures): string {
  return String(figures['reason'] ?? 'none was measured')
}
