// The example programs and the demo run and prove what they say.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'

import { kEnvironment } from './cli-process.js'

/** `program`: below the repository, without its ending. */
async function run (program: string, ...args: string[]): Promise<{ code: number, stdout: string }> {
  const path = fileURLToPath(new URL(`../../${program}.js`, import.meta.url))
  const child = spawn(process.execPath, [path, ...args], { env: kEnvironment, stdio: ['ignore', 'pipe', 'inherit'] })
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text) => { stdout += text })
  const [code] = await once(child, 'close')
  return { code, stdout }
}

t.test('embed', async (t) => {
  const { code, stdout } = await run('examples/embed')
  t.equal(code, 0)
  t.match(stdout, /equal: true/)
  t.match(stdout, /the source is refusing, the destination open\n$/)
})

t.test('own-transport', async (t) => {
  const { code, stdout } = await run('examples/own-transport')
  t.equal(code, 0)
  t.match(stdout, /^round 1: /m)
  t.match(stdout, /^equal: true$/m)
})

t.test('hooks', async (t) => {
  const { code, stdout } = await run('examples/hooks')
  t.equal(code, 0)
  const [, paused] = /paused at the source at (\d+)/.exec(stdout)!
  t.match(stdout, `resumed at the destination at ${paused}\n`)
  const [, counted, held] = /counted to (\d+); the destination's disk says (\d+)/.exec(stdout)!
  t.equal(counted, held)
})

t.test('demo', async (t) => {
  const { code, stdout } = await run('demo/disk', '--bandwidth', 'none')
  t.equal(code, 0)
  for (const proof of [/equal byte for byte/, /the last acknowledged record, number \d+, is at/, /e2fsck finds .* clean/,
    /the source refuses writes/, /\d+ more records in a second, all there/]) {
    t.match(stdout, proof)
  }
  t.notOk(stdout.split('\n').some((line) => line.length >= 80), 'fits a terminal')
})
