// `npm run demo`: sets up, builds, and runs the demo of a disk, or with `vm` as its first argument
// that of a whole machine, with `sites` that of a machine whose address changes; other arguments are
// passed on.

import { join } from 'node:path'
import { build } from './build.mjs'
import { setUp } from './setup.mjs'
import { main, root, runProgram } from './support.mjs'

const machines = { vm: 'vm.js', sites: 'sites.js' }

await main(() => {
  const all = process.argv.slice(2)
  const isMachine = Object.hasOwn(machines, all[0] ?? '')
  const [program, args] = isMachine ? [machines[all[0]], all.slice(1)] : ['disk.js', all]
  setUp(isMachine ? ['build', 'test', 'vm'] : ['build', 'test'])
  build()
  return runProgram(join(root, 'dist', 'demo', program), args)
})
