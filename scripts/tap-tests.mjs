// Runs the compiled tests, each by Node alone: tap's own runner puts a loader into every process that
// they start. Shows a line per file and all of a failure, and counts the assertions.

import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { runInParallel } from './in-parallel.mjs'
import { matches } from './results.mjs'
import { Failure, root } from './support.mjs'

/** What takes longer hangs: a guard, never a verdict on how fast a machine is. */
const secondsOf = (path) => isLong(path) ? 3600 : 900
/** For a test's own word on its timeout. */
const graceSeconds = 60

/** Runs the tests whose path holds one of the patterns (all without a pattern). */
export async function runTapTests (patterns, results) {
  const isDue = (path) => patterns.length > 0 || isFull || !isLong(path)
  const files = testFiles().filter((path) => matches(path, patterns) && isDue(path))
  const inOrder = files.toSorted((one, other) => rank(one) - rank(other))
  await runInParallel(inOrder.map((file) => ({ share: shareOf(file), run: () => runFile(file, {}, results) })))
}

/** Runs the one test whose path holds `part`; of its subtests only those whose name the regular
 * expression `pattern` finds, where it is given. */
export async function runTapTest (part, pattern, results) {
  const found = testFiles().filter((path) => path.includes(part))
  const files = found.filter((path) => path.endsWith(`/${part}.test.js`))
  const [file, ...others] = files.length > 0 ? files : found
  if (file === undefined) throw new Failure(`no test's path holds ${part}`)
  if (others.length > 0) throw new Failure(`which one?\n  ${[file, ...others].join('\n  ')}`)
  await runFile(file, pattern === undefined ? {} : { TAP_GREP: pattern }, results)
}

const isFull = process.env.BLOCKFERRY_FULL === '1'

// Minutes of two emulated hosts each: `npm run test:xen`, or test:full.
const isLong = (path) => path.includes('/xen/moves/')

// Those that take the longest begin first, so that none is left alone at the end.
const longest = ['/lab/', '/xen/', '/machine/', '/testbed/', '/faults/', '/network/', '/model/']

function rank (path) {
  const found = longest.findIndex((folder) => path.includes(folder))
  return found < 0 ? longest.length : found
}

// Of a processor: tests of networks wait most of the time, unless they emulate a machine.
function shareOf (path) {
  return path.includes('/network/') && !path.includes('/network/vm-') ? 0.5 : 1
}

// The sources decide: a compiled test may be the leftover of one that is gone.
function testFiles () {
  if (!existsSync(join(root, 'test'))) return []
  return readdirSync(join(root, 'test'), { recursive: true })
    .filter((path) => path.endsWith('.test.ts'))
    .sort()
    .map((path) => `dist/test/${path.slice(0, -'.ts'.length)}.js`)
}

/** Runs one compiled test, relative to the repository or not. */
export async function runFile (file, environment, results) {
  const { Parser } = await import('tap-parser')
  const parser = new Parser()
  const failuresBefore = results.failures.length
  count(parser, [file], results)
  const finished = new Promise((resolve) => parser.on('complete', resolve))
  const started = performance.now()
  const env = { ...process.env, TAP: '1', TAP_TIMEOUT: String(secondsOf(file)), ...environment }
  const exit = await pipeTap(file, env, parser)
  const final = await endOf(parser, finished)
  const seconds = (performance.now() - started) / 1000
  const isBlamed = results.failures.slice(failuresBefore).some((name) => name.startsWith(file))
  if (final.bailout) results.fail(`${file}: bailed out: ${final.bailout}`)
  else if (exit !== 0 && !isBlamed) results.fail(`${file}: ended with ${exit}`)
  const isOk = exit === 0 && !isBlamed && !final.bailout
  results.took(file, seconds)
  console.log(`${isOk ? 'ok' : 'not ok'} ${file} (${seconds.toFixed(1)} s)`)
}

// What a test has started and left may hold its output open.
async function endOf (parser, finished) {
  const timer = setTimeout(() => parser.end(), graceSeconds * 1000)
  const final = await finished
  clearTimeout(timer)
  return final
}

function pipeTap (file, env, parser) {
  return new Promise((resolve, reject) => {
    const args = ['--enable-source-maps', file]
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] })
    const timer = setTimeout(() => child.kill('SIGKILL'), (secondsOf(file) + graceSeconds) * 1000)
    child.stdout.pipe(parser)
    child.on('error', (error) => reject(new Failure(`${file}: ${error.message}`)))
    child.on('exit', (code, signal) => {
      clearTimeout(timer)
      resolve(code ?? signal)
    })
  })
}

// Counts the assertions of one level. A subtest ends with an assertion of its own in the level
// above, which says nothing new unless it failed and no assertion inside did (a crash, a plan).
function count (parser, path, results) {
  let failuresBefore
  parser.on('child', (child) => {
    failuresBefore = results.failures.length
    count(child, [...path, child.name], results)
  })
  parser.on('assert', (result) => {
    const isSubtest = failuresBefore !== undefined
    const name = [...path, result.name].join(' > ')
    const blamed = isSubtest && results.failures.slice(failuresBefore).some((failed) => failed.startsWith(name))
    failuresBefore = undefined
    if (isSubtest && !result.skip && (result.ok || blamed)) return
    record(result, name, results)
  })
  parser.on('extra', (text) => {
    if (!text.startsWith('# ')) process.stdout.write(`  ${text}`)
  })
}

function record (result, name, results) {
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

function explain (diagnosis) {
  for (const [key, value] of Object.entries(diagnosis)) {
    const text = typeof value === 'string' ? value.trimEnd() : JSON.stringify(value)
    const separator = text.includes('\n') ? '\n' : ' '
    console.log(`  ${key}:${separator}${text.replace(/^/gm, separator === ' ' ? '' : '    ')}`)
  }
}
