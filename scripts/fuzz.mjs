// `npm run fuzz -- [PATTERN …] [--seconds N] [--seed N] [--keep]`: feeds native/core, under
// AddressSanitizer and UBSan, with what libFuzzer thinks up, N seconds (600) for each
// native/fuzz/NAME_fuzz.cc. The kept corpus in native/fuzz/corpus/NAME is where it begins; --keep
// adds what has reached something new. An input that it fails on is left in native/build/fuzzer.

import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildPrograms, fixedAddresses, listFiles, programOf } from './native-build.mjs'
import { hasFuzzer } from './packages.mjs'
import { Results, matches } from './results.mjs'
import { setUp } from './setup.mjs'
import { isMain, main, root } from './support.mjs'

const folder = 'native/build/fuzzer'
// What reaches the same places more often is not kept.
const merging = ['-merge=1', '-use_counters=0']
const limits = ['-max_len=4096', '-timeout=60', '-rss_limit_mb=2048', '-print_final_stats=1']

/** Builds and runs the fuzzers whose path holds one of the patterns. */
export async function runFuzzers (patterns, results, { seconds, seed, keep = false }) {
  const sources = listFiles('native/fuzz', '_fuzz.cc').filter((path) => matches(path, patterns))
  if (!hasFuzzer()) {
    for (const path of sources) results.skip(path, 'there is no clang with libFuzzer')
    return
  }
  buildPrograms('fuzzer', sources)
  for (const path of sources) await runFuzzer(basename(path, '.cc'), path, { seconds, seed, keep }, results)
}

async function runFuzzer (name, source, { seconds, seed, keep }, results) {
  const kept = `native/fuzz/corpus/${name.replace(/_fuzz$/, '')}`
  const found = `${folder}/${name}.found`
  for (const path of [kept, found]) mkdirSync(join(root, path), { recursive: true })
  const artifacts = `-artifact_prefix=${folder}/${name}-`
  const args = [...limits, artifacts, `-seed=${seed}`, `-max_total_time=${seconds}`, found, kept]
  const started = performance.now()
  const { failed, output } = await execute(programOf('fuzzer', source), args)
  results.took(source, (performance.now() - started) / 1000)
  const count = /number_of_executed_units: (\d+)/.exec(output)?.[1]
  if (failed || count === undefined) {
    process.stdout.write(output.slice(-20_000))
    console.log(`not ok ${name} (seed ${seed})`)
    return results.fail(`${name} (seed ${seed})`)
  }
  console.log(`ok ${name} (${count} inputs, ${readdirSync(join(root, kept)).length} of them kept, seed ${seed})`)
  results.pass()
  if (keep) await execute(programOf('fuzzer', source), [...merging, ...limits, kept, found])
  rmSync(join(root, found), { recursive: true })
}

function execute (program, args) {
  const [command, ...all] = [...fixedAddresses(), join(root, program), ...args]
  return new Promise((resolve, reject) => {
    const child = spawn(command, all, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const add = (text) => (output = (output + text).slice(-100_000))
    child.stdout.on('data', add)
    child.stderr.on('data', add)
    child.on('error', reject)
    child.on('close', (code) => resolve({ failed: code !== 0, output }))
  })
}

if (isMain(import.meta.url)) {
  await main(async () => {
    const options = {
      seconds: { type: 'string', default: '600' },
      seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
      keep: { type: 'boolean', default: false }
    }
    const { values, positionals } = parseArgs({ options, allowPositionals: true })
    setUp(['build', 'test'])
    const results = new Results()
    await runFuzzers(positionals, results, values)
    return results.report()
  })
}
