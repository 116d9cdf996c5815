// `npm run bench -- NAME [options]`: sets up, builds, and runs a benchmark. Without a name it
// lists them. What they measure and how to read them: bench/README.md.

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { build } from './build.mjs'
import { setUp } from './setup.mjs'
import { Failure, main, root, runProgram } from './support.mjs'

await main(async () => {
  const [name, ...args] = process.argv.slice(2)
  if (name === undefined || name.startsWith('-')) return list()
  if (!existsSync(join(root, 'bench', `${name}.ts`))) {
    throw new Failure(`no benchmark is called ${name}; there are: ${names().join(', ')}`)
  }
  setUp(['build', 'test', 'bench', 'vm'])
  build()
  return runProgram(join(root, 'dist', 'bench', `${name}.js`), args)
})

function names () {
  return readdirSync(join(root, 'bench'))
    .filter((file) => file.endsWith('.ts'))
    .map((file) => file.slice(0, -'.ts'.length))
}

function list () {
  console.log('npm run bench -- NAME [--json] [--runs N] [--quick] [--peers-only] [--cases A,B]')
  for (const name of names()) console.log(`  ${name}`)
}
