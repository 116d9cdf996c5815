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
}

/** Reads the command line. Throws on options that make no sense. */
export function readOptions(defaults: { runs: number; quickRuns: number }): BenchOptions {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      'peers-only': { type: 'boolean', default: false },
      runs: { type: 'string' },
      cases: { type: 'string' },
    },
  })
  const fallback = values.quick ? defaults.quickRuns : defaults.runs
  const runs = values.runs === undefined ? fallback : Number(values.runs)
  if (!Number.isInteger(runs) || runs < 1) throw new Error('--runs takes a whole number, 1 or more')
  const names = values.cases?.split(',')
  const wants = (name: string) => names?.some((part) => name.includes(part)) ?? true
  return { json: values.json, quick: values.quick, peersOnly: values['peers-only'], runs, wants }
}
