// Migrations by the hundred whose link fails in every way and at every moment that a seed can draw.
//
// BLOCKFERRY_FAULTS=N runs N of them instead, BLOCKFERRY_SEED=S begins with that seed: with 1 and a
// seed that was printed, the same one again.
import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import t from 'tap'

import { capabilities } from '../../lib/index.js'
import { kIsFull } from '../support/full.js'
import { temporary } from '../../testbed/support/images.js'
import { psk, pskFile } from '../support/keys.js'
import { linkFaults } from '../../testbed/faults/link-faults.js'
import { kFirstSeed, runTrials } from './trials.js'
import { runTrial } from '../../testbed/faults/trial.js'

function count (folder: string): number {
  return readdirSync(folder).length
}

t.test('whatever happens to the link', async (t) => {
  const key = capabilities().tls ? psk(pskFile(temporary(t), 'key', 'host')) : false
  await runTrial(kFirstSeed, linkFaults, key) // what is loaded on first use stays open
  const before: Record<string, number> = {
    '/proc/self/fd': count('/proc/self/fd'), '/proc/self/task': count('/proc/self/task')
  }
  await runTrials(t, (seed) => runTrial(seed, linkFaults, key), { runs: kIsFull ? 500 : 150, atOnce: 10 })
  for (const folder of Object.keys(before)) {
    for (let tries = 0; tries < 500 && count(folder) > before[folder]!; tries++) await sleep(20)
    t.ok(count(folder) <= before[folder]!, `${count(folder)} in ${folder}, ${before[folder]} before`)
  }
})
