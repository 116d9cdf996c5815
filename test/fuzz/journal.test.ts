// The journal's reader against files that were damaged or made up: it answers what was written, or
// says that it can't.
import assert from 'node:assert'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { Journal } from '../../lib/index.js'
import { lineOf } from '../../lib/ownership/journal-file.js'
import { temporary } from '../../testbed/support/images.js'
import { mutateBytes, mutateValue } from './mutate.js'
import { fuzz } from './runs.js'

const kMigrations = ['0b0e7a52-4f7b-4a7a-9d3a-2f6d3b6f7f10', '7c1f1f0e-1d53-4c1c-8f0b-9a5a4f3f7f11']
const kRecords = kMigrations.flatMap((migration, index) => [
  { role: 'source', state: 'copying', peer: '[::1]:4711' },
  { role: 'source', state: 'committing', peer: '[::1]:4711' },
  { role: 'destination', state: 'committed', digests: ['00ff', 'aa'] }
].map((step) => ({
  at: '2026-01-01T00:00:00.000Z',
  migration,
  ...step,
  disks: [{ name: 'web', epoch: index }, { name: 'data', epoch: 7 }]
})))
/** What the reader itself adds, about a source that had not sent its commit message. */
const kSettled = new RegExp(`"migration":"(${kMigrations.join('|')})","role":"source","state":"kept"`)
const kWhole = Buffer.from(kRecords.map(lineOf).join(''))

/** What it says of every migration; JOURNAL when it can't. */
async function read (path: string): Promise<string> {
  try {
    await using journal = await Journal.open(path)
    const disks = journal.names().map((name) => journal.ownershipOf(name))
    const known = kMigrations.map((migration) => journal.recordOf(migration))
    return JSON.stringify([disks, known, journal.unknown()])
  } catch (error) {
    assert.strictEqual((error as { code?: string }).code, 'JOURNAL', (error as Error).stack)
    return 'JOURNAL'
  }
}

function linesOf (path: string): string[] {
  return readFileSync(path, 'utf8').split('\n').slice(0, -1)
}

t.test('damaged: each record that counts was written so, or settles one that was', async (t) => {
  const path = join(temporary(t), 'journal')
  const written = new Set(kRecords.map((record) => lineOf(record).trimEnd()))
  const seen = { read: 0, refused: 0 }
  await fuzz(1000, async (random) => {
    writeFileSync(path, mutateBytes(kWhole, random))
    const said = await read(path)
    seen[said === 'JOURNAL' ? 'refused' : 'read']++
    if (said === 'JOURNAL') return
    for (const line of linesOf(path)) assert(written.has(line) || kSettled.test(line), line)
    assert.strictEqual(await read(path), said, 'it says the same the next time')
  })
  t.ok(seen.read > 0 && seen.refused > 0, JSON.stringify(seen))
})

t.test('made up: records whose check is right', async (t) => {
  const path = join(temporary(t), 'journal')
  const seen = { read: 0, refused: 0 }
  await fuzz(1000, async (random) => {
    const at = random.below(kRecords.length)
    const records = kRecords.with(at, mutateValue(kRecords[at], random) as (typeof kRecords)[0])
    writeFileSync(path, records.map(lineOf).join(''))
    const said = await read(path)
    seen[said === 'JOURNAL' ? 'refused' : 'read']++
    assert.strictEqual(await read(path), said, 'it says the same the next time')
  })
  t.ok(seen.read > 0 && seen.refused > 0, JSON.stringify(seen))
})
