// `npm run demo`: sets up, builds, and runs the demo of a disk, or with `vm` as its first argument
// that of a whole machine; other arguments are passed on.

import { join } from 'node:path'
import { build } from './build.mjs'
import { setUp } from './setup.mjs'
import { main, root, runProgram } from './support.mjs'

await main(() => {
  const [first, ...rest] = process.argv.slice(2)
  const isMachine = first === 'vm'
  const [program, args] = isMachine ? ['web-server.js', rest] : ['demo.js', process.argv.slice(2)]
  setUp(isMachine ? ['build', 'test', 'vm'] : ['build', 'test'])
  build()
  return runProgram(join(root, 'dist', 'examples', program), args)
})
