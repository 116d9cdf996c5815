import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { temporary } from '../../testbed/support/images.js'

// Scripts of the repository, which are not compiled.
const scripts = new URL('../../../scripts/', import.meta.url).href
const { Results } = await import(`${scripts}results.mjs`)
const { runFile } = await import(`${scripts}tap-tests.mjs`)
const tap = import.meta.resolve('tap')

const kFiles: Record<string, { body: string, failures: RegExp[], passed: number, skips?: number }> = {
  passes: { body: "t.test('a', async (t) => { t.ok(true); t.equal(1, 1) })", failures: [], passed: 2 },
  'fails in a subtest': { body: "t.test('a', async (t) => { t.ok(true); t.equal(1, 2, 'b') })", failures: [/> a > b$/], passed: 1 },
  'throws in a subtest': { body: "t.test('a', async () => { throw new Error('no') })", failures: [/> a > no$/], passed: 0 },
  'breaks its plan': { body: "t.test('a', async (t) => { t.plan(2); t.ok(true) })", failures: [/> a/], passed: 1 },
  dies: { body: "t.ok(true); await new Promise((resolve) => setTimeout(resolve, 10)); process.kill(process.pid, 'SIGKILL')", failures: [/SIGKILL$/], passed: 1 },
  'does not load': { body: 'import "./nowhere.js"', failures: [/ended with 1$/], passed: 0 },
  'ends without a word': { body: 'process.exit(1)', failures: [/ended with 1$/], passed: 0 },
  skips: { body: "t.test('a', { skip: 'no root' }, async () => {})", failures: [], passed: 0, skips: 1 },
  'takes too long': { body: "t.test('a', { timeout: 50 }, async () => { await new Promise((resolve) => setTimeout(resolve, 300)) })", failures: [/> a > timeout!/, /> a$/], passed: 0 }
}

for (const [name, { body, failures, passed, skips = 0 }] of Object.entries(kFiles)) {
  t.test(`a file that ${name}`, async (t) => {
    const file = join(temporary(t), 'some.test.mjs')
    writeFileSync(file, `import t from '${tap}'\n${body}\n`)
    const results = new Results()
    const log = t.capture(console, 'log', () => {})
    await runFile(file, {}, results)
    const last = log().at(-1)!.args[0]
    log.restore()
    t.match(last, failures.length === 0 ? /^ok / : /^not ok /)
    t.equal(results.failures.length, failures.length, results.failures.join('\n'))
    for (const [i, failure] of failures.entries()) t.match(results.failures[i], failure)
    t.equal(results.passed, passed)
    t.equal(results.skips.length, skips)
  })
}
