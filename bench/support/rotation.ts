// Contenders take turns (A B C A B C …), so that what the machine's neighbours do hits all alike.

import type { Figures, Runs } from './figures.js'

export interface Contender {
  readonly name: string
  /** One run. One that throws counts as unequal, and its reason is recorded. */
  run(): Promise<Figures>
}

/** Runs every contender `runs` times, in turn. */
export async function takeTurns (contenders: readonly Contender[], runs: number): Promise<Runs> {
  const results: Runs = {}
  for (let turn = 1; turn <= runs; turn++) {
    for (const contender of contenders) {
      const figures = await runOnce(contender)
      console.error(`  ${contender.name} ${turn}/${runs}: ${describe(figures)}`)
      ;(results[contender.name] ??= []).push(figures)
    }
  }
  return results
}

async function runOnce (contender: Contender): Promise<Figures> {
  try {
    return await contender.run()
  } catch (error) {
    return { equal: false, reason: error instanceof Error ? error.message.trim() : String(error) }
  }
}

function describe (figures: Figures): string {
  return Object.entries(figures)
    .map(([key, value]) => `${key} ${typeof value === 'number' ? round(value) : String(value)}`)
    .join(', ')
}

function round (value: number): string {
  return Number.isInteger(value) ? String(value) : value.toPrecision(4)
}
