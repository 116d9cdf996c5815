// Figures of one run, medians of several, and their JSON and table.

import type { Machine } from './machine.js'

/** What one run measured. Null: not to be had, `reason` says why. */
export type Figures = Record<string, number | string | boolean | null>

/** All runs of one case, by contender. */
export type Runs = Record<string, Figures[]>

/** The name that our own runs go by. */
export const ours = 'blockferry'

export interface CaseReport {
  readonly name: string
  /** Medians; null when blockferry was left out. */
  readonly ours: Figures | null
  readonly peers: Record<string, Figures>
  /** Every run that ended was found equal; null when nothing was compared. */
  readonly equal: boolean | null
  readonly runs: Runs
}

/** The middle value; the mean of the middle two of an even number. Null of none. */
export function median (values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b)
  const upper = sorted[Math.floor(sorted.length / 2)]
  const lower = sorted[Math.floor((sorted.length - 1) / 2)]
  return upper === undefined || lower === undefined ? null : (upper + lower) / 2
}

/** The median of each number; of a flag whether all runs had it; of a text the last one. */
export function medians (runs: readonly Figures[]): Figures {
  const keys = new Set(runs.flatMap((run) => Object.keys(run)))
  return Object.fromEntries([...keys].map((key) => [key, summarize(runs.map((run) => run[key]))]))
}

function summarize (values: readonly (Figures[string] | undefined)[]): Figures[string] {
  const known = values.filter((value) => value !== null && value !== undefined)
  if (known.some((value) => typeof value === 'boolean')) return known.every((value) => value)
  const numbers = known.filter((value) => typeof value === 'number')
  return numbers.length > 0 ? median(numbers) : (known.at(-1) ?? null)
}

export function reportCase (name: string, runs: Runs): CaseReport {
  const entries = Object.entries(runs).filter(([, list]) => list.length > 0)
  const summaries = Object.fromEntries(entries.map(([key, list]) => [key, medians(list)]))
  const { [ours]: own, ...peers } = summaries
  const verdicts = entries.flatMap(([, list]) => list.map((run) => run['equal'] ?? null))
  const known = verdicts.filter((verdict) => verdict !== null)
  const equal = known.length > 0 ? known.every((verdict) => verdict === true) : null
  return { name, ours: own ?? null, peers, equal, runs }
}

/**
 * The median over all turns of one contender's figure over another's in the same turn: steadier
 * than the ratio of medians on a machine whose speed changes. Null where either has none.
 */
export function ratio (runs: Runs, key: string, one: string, other: string): number | null {
  const ratios = (runs[one] ?? []).map((run, turn) => {
    return Number(run[key] ?? NaN) / Number(runs[other]?.[turn]?.[key] ?? NaN)
  })
  return median(ratios.filter((value) => Number.isFinite(value)))
}

/** Prints a case as a table: a line per contender, a column per figure that is not left out. */
export function printCase (report: CaseReport, leftOut: readonly string[] = []): void {
  const rows = { ...(report.ours ? { [ours]: report.ours } : {}), ...report.peers }
  const all = new Set(Object.values(rows).flatMap((row) => Object.keys(row)))
  const columns = [...all].filter((column) => !leftOut.includes(column))
  const lines = Object.entries(rows).map(([name, row]) => [
    name,
    ...columns.map((column) => format(row[column]))
  ])
  console.log(`\n${report.name}`)
  printColumns([['', ...columns], ...lines])
}

function format (value: Figures[string] | undefined): string {
  if (value === null || value === undefined) return '-'
  if (typeof value !== 'number') return String(value)
  if (Number.isInteger(value)) return String(value)
  return value.toPrecision(value >= 1000 ? 6 : 3)
}

function printColumns (lines: readonly string[][]): void {
  const widths = (lines[0] ?? []).map((_, i) => Math.max(...lines.map((l) => l[i]?.length ?? 0)))
  for (const line of lines) {
    const cells = line.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)
    )
    console.log(`  ${cells.join('  ').trimEnd()}`)
  }
}

/** The last line of a benchmark under --json; `more` is what only this one has. */
export function printJson (
  bench: string,
  machine: Machine,
  cases: readonly CaseReport[],
  more: Readonly<Record<string, unknown>> = {}
): void {
  console.log(JSON.stringify({ bench, machine, ...more, cases }))
}
