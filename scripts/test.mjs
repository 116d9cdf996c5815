// `npm test`: on a fresh clone, with nothing else run before. Sets up, builds, checks, runs the native
// tests, the fuzzers for a short time each, and then the tap tests. `npm test -- PATTERN …` runs
// the test files whose path holds one of the patterns. With CI=true a skipped test is a failure.

import { build } from './build.mjs'
import { check } from './check.mjs'
import { runFuzzers } from './fuzz.mjs'
import { runNativeTests } from './native-tests.mjs'
import { Results } from './results.mjs'
import { setUp } from './setup.mjs'
import { main } from './support.mjs'
import { runTapTests } from './tap-tests.mjs'

await main(async () => {
  setUp(['build', 'test'])
  build()
  const patterns = process.argv.slice(2)
  if (patterns.length === 0) await check()
  const results = new Results()
  await runNativeTests(patterns, results)
  await runFuzzers(patterns, results, { seconds: 10, seed: Date.now() % 2 ** 31 })
  await runTapTests(patterns, results)
  return results.report()
})
