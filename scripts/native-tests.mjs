// Builds and runs the tests of native/core: every NAME_test.cc below native/test is a program with
// a main() of its own, linked with the folder of native/core whose name its own folder has, and what
// that includes.
//
// Each runs plainly and under AddressSanitizer with UBSan. A line among its first 30 says if it
// runs otherwise; an empty list means plainly only:
//   // sanitizers: address, thread
//
// A test prints one line per case: `ok NAME`, `not ok NAME` or `skip NAME: REASON`, and exits
// with 0 when none failed. One that prints no such line counts as one case.
//
// `npm run t:native -- NAME [CASE]`: the tests whose path holds NAME, without any set-up; of their
// cases only those whose name holds CASE.

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { runInParallel } from './in-parallel.mjs'
import { buildPrograms, fixedAddresses, flavours, listFiles, programOf } from './native-build.mjs'
import { Results, matches } from './results.mjs'
import { Failure, isMain, main, root } from './support.mjs'

const timeoutMs = 300_000

/** Builds and runs the tests whose path holds one of the patterns (all without a pattern); of their
 * cases only those whose name holds `part`, where it is given. */
export async function runNativeTests (patterns, results, part) {
  const tests = listFiles('native/test', '_test.cc').filter((path) => matches(path, patterns))
  const tools = patterns.length === 0 ? listFiles('native/test', '_main.cc') : []
  const jobs = []
  for (const flavour of flavours) {
    const chosen = tests.filter((path) => flavoursOf(path).includes(flavour))
    buildPrograms(flavour, flavour === 'plain' ? [...chosen, ...tools] : chosen)
    jobs.push(...chosen.map((path) => ({ share: 1, run: () => runTest(flavour, path, part, results) })))
  }
  await runInParallel(jobs)
}

function flavoursOf (path) {
  const head = readFileSync(join(root, path), 'utf8').split('\n', 30).join('\n')
  const line = /^\/\/ sanitizers:(.*)$/m.exec(head)
  if (!line) return ['plain', 'address']
  const named = line[1].split(/[\s,]+/).filter((word) => word !== '')
  const unknown = named.find((word) => !flavours.includes(word))
  if (unknown) throw new Failure(`${path}: no sanitizer is called ${unknown}`)
  return ['plain', ...named]
}

async function runTest (flavour, source, part, results) {
  const name = relative('native/test', source) + (flavour === 'plain' ? '' : ` (${flavour})`)
  const started = performance.now()
  const { code, signal, output } = await execute(flavour, programOf(flavour, source), part)
  results.took(name, (performance.now() - started) / 1000)
  const counted = countCases(name, output, part, results)
  if (code === 0 && !counted.failed) {
    if (counted.cases === 0 && part !== undefined) return
    if (counted.cases === 0) results.pass()
    console.log(`ok ${name}`)
    return
  }
  process.stdout.write(output)
  console.log(`not ok ${name}: ${signal ?? `exit ${code}`}`)
  if (!counted.failed) results.fail(`${name}: ${signal ?? `exit ${code}`}`)
}

// A case that ran unasked, in a test that can't leave any out, counts only when it fails.
function countCases (name, output, part = '', results) {
  let cases = 0
  let failed = false
  for (const line of output.split('\n')) {
    const found = /^(ok|not ok|skip)\b[\s:-]*(.*)$/.exec(line)
    if (!found) continue
    const [, verdict, text] = found
    if (verdict !== 'not ok' && !text.includes(part)) continue
    cases += 1
    if (verdict === 'ok') results.pass()
    if (verdict === 'not ok') results.fail(`${name}: ${text}`)
    if (verdict === 'skip') results.skip(...splitSkip(name, text))
    failed ||= verdict === 'not ok'
  }
  return { cases, failed }
}

function splitSkip (name, text) {
  const [title, ...reason] = text.split(':')
  return [`${name}: ${title}`, reason.join(':').trim()]
}

function execute (flavour, program, part) {
  const prefix = flavour === 'thread' ? fixedAddresses() : []
  const [command, ...args] = [...prefix, join(root, program)]
  return new Promise((resolve, reject) => {
    const env = part === undefined ? process.env : { ...process.env, CASE: part }
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
    const timer = setTimeout(() => child.kill('SIGABRT'), timeoutMs)
    let output = ''
    child.stdout.on('data', (data) => (output += data))
    child.stderr.on('data', (data) => (output += data))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, output })
    })
  })
}

if (isMain(import.meta.url)) {
  await main(async () => {
    const [name, part] = process.argv.slice(2)
    if (name === undefined) throw new Failure('usage: npm run t:native -- NAME [CASE]')
    const results = new Results()
    await runNativeTests([name], results, part)
    return results.report()
  })
}
