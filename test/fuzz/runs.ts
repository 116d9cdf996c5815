// How long the fuzzers written in TypeScript go on: BLOCKFERRY_FUZZ=N inputs each instead of the
// few of a test run, beginning with BLOCKFERRY_SEED=S.
import { Random } from '../../testbed/support/random.js'

const kFirstSeed = Number(process.env['BLOCKFERRY_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const kRuns = Number(process.env['BLOCKFERRY_FUZZ'] ?? 0)

/** Calls `run` so many times, each with a generator of its own; what it throws names the seed. */
export async function fuzz (usualRuns: number, run: (random: Random) => void | Promise<void>): Promise<void> {
  for (let seed = kFirstSeed; seed < kFirstSeed + (kRuns || usualRuns); seed++) {
    try {
      await run(new Random(seed))
    } catch (error) {
      throw new Error(`BLOCKFERRY_SEED=${seed} BLOCKFERRY_FUZZ=1: ${(error as Error).stack}`)
    }
  }
}
