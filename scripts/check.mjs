// `npm run check`: types, mistakes that types do not show, one formatting for each language, and who may import
// whom; all at once, in under half a minute. The rest of what is checked of the tree itself is in test/scripts.

import { spawn, spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'

import { Failure, isMain, main, root } from './support.mjs'

const sources = ['lib', 'testbed', 'test', 'bench', 'demo', 'examples']

/** Another version of clang-format has other opinions. */
const formatter = 14

const checks = () => ({
  types: ['tsc', '-p', 'tsconfig.json', '--noEmit'],
  lint: ['eslint', '.'],
  imports: ['depcruise', '--config', '.dependency-cruiser.mjs', ...sources],
  ...(hasFormatter() && { 'C++': ['clang-format', '--style=file', '--dry-run', '--Werror', ...nativeFiles()] })
})

function hasFormatter () {
  const { stdout } = spawnSync('clang-format', ['--version'], { encoding: 'utf8' })
  if (new RegExp(`version ${formatter}[.]`).test(stdout ?? '')) return true
  if (process.env.CI === 'true') throw new Failure(`clang-format ${formatter} is not there`)
  console.log(`the formatting of C++ is not checked: that takes clang-format ${formatter}`)
  return false
}

function nativeFiles () {
  return ['core', 'node', 'test', 'fuzz', '.'].flatMap((folder) => (
    readdirSync(join(root, 'native', folder), { recursive: folder !== '.' })
      .filter((path) => /[.](cc|h)$/.test(path))
      .map((path) => join('native', folder, path))))
}

/** Throws Failure, with what each of them said, when one complains. */
export async function check () {
  const outputs = await Promise.all(Object.entries(checks()).map(([name, command]) => complaintsOf(name, command)))
  const complaints = outputs.filter((output) => output !== null)
  if (complaints.length > 0) throw new Failure(complaints.join('\n'))
}

async function complaintsOf (name, [program, ...args]) {
  const env = { ...process.env, PATH: `${join(root, 'node_modules', '.bin')}${delimiter}${process.env.PATH}` }
  const child = spawn(program, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { output += data })
  return await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve(code === 0 ? null : `check of ${name}: ${output}`))
  })
}

if (isMain(import.meta.url)) await main(check)
