// Runs the compiled tests under tap, shows a line per file and all of a failure, and counts the
// assertions.

import { spawn } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { matches } from './results.mjs'
import { Failure, root } from './support.mjs'

/** Runs the tests whose path holds one of the patterns (all without a pattern). */
export async function runTapTests(patterns, results) {
  const files = testFiles().filter((path) => matches(path, patterns) && (patterns.length > 0 || !isLong(path)))
  if (files.length === 0) return
  const runner = join(root, 'node_modules', '.bin', 'tap')
  await runTap(runner, ['run', '--reporter=tap', ...files], process.env, results)
}

/** Runs the one test whose path holds `part`, without tap's runner, which takes its time; of its
 * subtests only those whose name the regular expression `pattern` finds, where it is given. */
export async function runTapTest(part, pattern, results) {
  const found = testFiles().filter((path) => path.includes(part))
  const files = found.filter((path) => path.endsWith(`/${part}.test.js`))
  const [file, ...others] = files.length > 0 ? files : found
  if (file === undefined) throw new Failure(`no test's path holds ${part}`)
  if (others.length > 0) throw new Failure(`which one?\n  ${[file, ...others].join('\n  ')}`)
  console.log(`# ${file}`)
  const env = { ...process.env, TAP_TIMEOUT: timeout() }
  if (pattern !== undefined) env.TAP_GREP = pattern
  await runTap(process.execPath, ['--enable-source-maps', file], env, results)
}

function timeout() {
  return /^timeout: (\d+)$/m.exec(readFileSync(join(root, '.taprc'), 'utf8'))[1]
}

async function runTap(command, args, env, results) {
  const { Parser } = await import('tap-parser')
  const parser = new Parser()
  watchFiles(parser, results)
  const finished = new Promise((resolve) => parser.on('complete', resolve))
  const failuresBefore = results.failures.length
  const exit = await pipeTap(command, args, env, parser)
  const final = await finished
  const isBlamed = results.failures.length > failuresBefore
  if (exit !== 0 && !isBlamed) results.fail(`tap ended with ${exit}`)
  if (final.bailout) results.fail(`tap bailed out: ${final.bailout}`)
}

// Minutes of two emulated hosts each: `npm run test:xen`.
const isLong = (path) => path.includes('/xen/moves/')

// The sources decide: a compiled test may be the leftover of one that is gone.
function testFiles() {
  if (!existsSync(join(root, 'test'))) return []
  return readdirSync(join(root, 'test'), { recursive: true })
    .filter((path) => path.endsWith('.test.ts'))
    .sort()
    .map((path) => `dist/test/${path.slice(0, -'.ts'.length)}.js`)
}

function pipeTap(command, args, env, parser) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] })
    child.stdout.pipe(parser)
    child.on('error', (error) => reject(new Failure(`tap: ${error.message}`)))
    child.on('exit', (code, signal) => resolve(code ?? signal))
  })
}

function watchFiles(parser, results) {
  parser.on('child', (file) => count(file, [], results))
  parser.on('assert', (result) => {
    if (isLeftOut(result)) return
    const seconds = (result.time ?? 0) / 1000
    results.took(result.name, seconds)
    console.log(`${result.ok ? 'ok' : 'not ok'} ${result.name} (${seconds.toFixed(1)} s)`)
  })
  closeSubtests(parser, [], results)
}

// Counts the assertions of one level. A subtest ends with an assertion of its own in the level
// above, which says nothing new unless it failed and no assertion inside did (a crash, a plan).
function count(parser, path, results) {
  const here = [...path, parser.name]
  parser.on('child', (child) => count(child, here, results))
  closeSubtests(parser, here, results)
  parser.on('extra', (text) => {
    if (!text.startsWith('# ')) process.stdout.write(`  ${text}`)
  })
}

function closeSubtests(parser, path, results) {
  let failuresBefore
  parser.on('child', () => (failuresBefore = results.failures.length))
  parser.on('assert', (result) => {
    const isSubtest = failuresBefore !== undefined
    const blamed = isSubtest && results.failures.length > failuresBefore
    failuresBefore = undefined
    if (isSubtest && !result.skip && (result.ok || blamed)) return
    record(result, [...path, result.name].join(' > '), results)
  })
}

function record(result, name, results) {
  if (isLeftOut(result)) return
  if (result.skip) results.skip(name, result.skip === true ? '' : result.skip)
  else if (result.todo) results.skip(name, `todo: ${result.todo === true ? '' : result.todo}`)
  else if (result.ok) results.pass()
  else {
    results.fail(name)
    console.log(`not ok ${name}`)
    explain(result.diag ?? {})
  }
}

// By runTapTest's pattern.
const isLeftOut = ({ skip }) => typeof skip === 'string' && skip.startsWith('filter: ')

function explain(diagnosis) {
  for (const [key, value] of Object.entries(diagnosis)) {
    const text = typeof value === 'string' ? value.trimEnd() : JSON.stringify(value)
    const separator = text.includes('\n') ? '\n' : ' '
    console.log(`  ${key}:${separator}${text.replace(/^/gm, separator === ' ' ? '' : '    ')}`)
  }
}
