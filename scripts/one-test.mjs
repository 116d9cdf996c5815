// `npm run t -- FILE [PATTERN]`: compiles what has changed and runs the one test whose path holds
// FILE (`t -- cancel`), without any set-up; of its subtests only those that PATTERN finds.

import { build } from './build.mjs'
import { Results } from './results.mjs'
import { Failure, main } from './support.mjs'
import { runTapTest } from './tap-tests.mjs'

await main(async () => {
  const [part, pattern] = process.argv.slice(2)
  if (part === undefined) throw new Failure('usage: npm run t -- FILE [PATTERN]')
  build()
  const results = new Results()
  await runTapTest(part, pattern, results)
  return results.report()
})
