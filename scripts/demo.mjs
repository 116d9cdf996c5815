// `npm run demo`: sets up, builds, and runs the demo with the arguments passed on.

import { join } from 'node:path'
import { build } from './build.mjs'
import { setUp } from './setup.mjs'
import { main, root, runProgram } from './support.mjs'

await main(() => {
  setUp(['build', 'test'])
  build()
  return runProgram(join(root, 'dist', 'examples', 'demo.js'), process.argv.slice(2))
})
