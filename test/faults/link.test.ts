// Hundreds of migrations whose link fails in every way and at every moment that a seed can draw.
//
// BLOCKFERRY_FAULTS=N runs N of them instead, BLOCKFERRY_SEED=S begins with that seed: with 1 and a
// seed that was printed, the same one again.
import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import t from 'tap'

import type { TlsOptions } from '../../lib/index.js'
import { capabilities } from '../../lib/index.js'
import { temporary } from '../support/images.js'
import { psk, pskFile } from '../support/keys.js'
import { linkFaults } from './link-faults.js'
import type { Trial } from './trial.js'
import { runTrial } from './trial.js'

const kRuns = Number(process.env['BLOCKFERRY_FAULTS'] ?? 500)
const kFirstSeed = Number(process.env['BLOCKFERRY_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
/** They wait for timeouts most of the time. */
const kAtOnce = 10

t.setTimeout(0)

async function runAll (key: TlsOptions | false, done: (trial: Trial) => void): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < kRuns) done(await runTrial(kFirstSeed + next++, key))
  }
  await Promise.all(Array.from({ length: Math.min(kAtOnce, kRuns) }, worker))
}

function count (folder: string): number {
  return readdirSync(folder).length
}

t.test('whatever happens to the link', async (t) => {
  t.comment(`seeds ${kFirstSeed} to ${kFirstSeed + kRuns - 1}`)
  const key = capabilities().tls ? psk(pskFile(temporary(t), 'key', 'host')) : false
  await runTrial(kFirstSeed, key) // what is loaded on first use stays open
  const before: Record<string, number> = {
    '/proc/self/fd': count('/proc/self/fd'), '/proc/self/task': count('/proc/self/task')
  }
  const trials: Trial[] = []
  await runAll(key, (trial) => {
    trials.push(trial)
    const { seed, fault, error, wrong } = trial
    const outcome = error === null ? 'moved' : `${error.code}, owner ${error.owner}`
    t.same(wrong, [], `seed ${seed}: ${fault}: ${outcome}`)
  })
  for (const fault of Object.keys(linkFaults)) {
    const of = trials.filter((trial) => trial.fault === fault)
    const moved = of.filter(({ moved }) => moved).length
    const unknown = of.filter(({ error }) => error?.owner === 'unknown').length
    t.comment(`${fault}: ${of.length} runs, ${moved} moved, ${unknown} with an unknown owner`)
  }
  for (const folder of Object.keys(before)) {
    for (let tries = 0; tries < 500 && count(folder) > before[folder]!; tries++) await sleep(20)
    t.ok(count(folder) <= before[folder]!, `${count(folder)} in ${folder}, ${before[folder]} before`)
  }
})
