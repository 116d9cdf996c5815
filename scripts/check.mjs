// `npm run check`: types, mistakes that types do not show, one formatting, and who may import whom; all at
// once, in under half a minute. The rest of what is checked of the tree itself is in test/scripts.

import { spawn } from 'node:child_process'
import { join } from 'node:path'

import { Failure, isMain, main, root } from './support.mjs'

const sources = ['lib', 'testbed', 'test', 'bench', 'demo', 'examples']

const checks = {
  types: ['tsc', '-p', 'tsconfig.json', '--noEmit'],
  lint: ['eslint', '.'],
  imports: ['depcruise', '--config', '.dependency-cruiser.mjs', ...sources]
}

/** Throws Failure, with what each of them said, when one complains. */
export async function check () {
  const outputs = await Promise.all(Object.entries(checks).map(([name, command]) => complaintsOf(name, command)))
  const complaints = outputs.filter((output) => output !== null)
  if (complaints.length > 0) throw new Failure(complaints.join('\n'))
}

async function complaintsOf (name, [program, ...args]) {
  const child = spawn(join(root, 'node_modules', '.bin', program), args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { output += data })
  return await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve(code === 0 ? null : `check of ${name}: ${output}`))
  })
}

if (isMain(import.meta.url)) await main(check)
