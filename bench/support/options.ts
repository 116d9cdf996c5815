// The options that every benchmark takes.

import { parseArgs } from 'node:util'

export interface BenchOptions {
  /** End with one line of JSON. */
  readonly json: boolean
  /** How often every contender runs, in turn. */
  readonly runs: number
  /** Small sizes: to see that everything works, not for figures. */
  readonly quick: boolean
  /** Leave blockferry out. */
  readonly peersOnly: boolean
  /** Whether a case was asked for; all are unless --cases names some (by a part of the name). */
  readonly wants: (name: string) => boolean
  /** The values of the benchmark's own options. */
  readonly own: Readonly<Record<string, string | undefined>>
  /** Those of its own flags that were given. */
  readonly flags: ReadonlySet<string>
}

/**
 * Reads the command line. Throws on options that make no sense.
 * @param own the names of options that only this benchmark has, each with a value
 * @param ownFlags the same without a value
 */
export function readOptions (
  defaults: { runs: number, quickRuns: number },
  own: readonly string[] = [],
  ownFlags: readonly string[] = []
): BenchOptions {
  const ownOptions = [
    ...own.map((name) => [name, { type: 'string' as const }]),
    ...ownFlags.map((name) => [name, { type: 'boolean' as const }])
  ]
  const { values } = parseArgs({
    options: {
      ...(Object.fromEntries(ownOptions) as Record<string, { type: 'string' }>),
      json: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      'peers-only': { type: 'boolean', default: false },
      runs: { type: 'string' },
      cases: { type: 'string' }
    }
  })
  const fallback = values.quick ? defaults.quickRuns : defaults.runs
  const runs = values.runs === undefined ? fallback : Number(values.runs)
  if (!Number.isInteger(runs) || runs < 1) throw new Error('--runs takes a whole number, 1 or more')
  const names = values.cases?.split(',')
  const wants = (name: string) => names?.some((part) => name.includes(part)) ?? true
  const { json, quick, 'peers-only': peersOnly } = values
  const all = values as Record<string, unknown>
  const found = Object.fromEntries(own.map((name) => [name, all[name]])) as BenchOptions['own']
  const flags = new Set(ownFlags.filter((name) => all[name] === true))
  return { json, quick, peersOnly, runs, wants, own: found, flags }
}
