// The journal: what is torn was never written, what is damaged is told, and it says who may write.
import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, chmodSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { Journal } from '../../lib/index.js'
import type { BlockferryError, OwnershipRecord } from '../../lib/index.js'
import { lineOf } from '../../lib/ownership/journal-file.js'
import { parseToken, tokenOf } from '../../lib/ownership/token.js'
import { temporary } from '../../testbed/support/images.js'
import { kNeedsRoot, loopDevice, smallDisk } from '../support/root.js'

const kMigration = '0b0e7a52-4f7b-4a7a-9d3a-2f6d3b6f7f10'
const kDisks = [{ name: 'web', epoch: 3 }]

type Step = Pick<OwnershipRecord, 'role' | 'state'>

async function written (path: string, ...steps: Step[]): Promise<void> {
  await using journal = await Journal.open(path)
  for (const step of steps) await journal.write({ migration: kMigration, disks: kDisks, ...step })
}

const kCases: Array<[Step, string, string]> = [
  [{ role: 'source', state: 'copying' }, 'here', 'kept'],
  [{ role: 'source', state: 'committing' }, 'unknown', 'committing'],
  [{ role: 'source', state: 'moved' }, 'elsewhere', 'moved'],
  [{ role: 'source', state: 'kept' }, 'here', 'kept'],
  [{ role: 'destination', state: 'receiving' }, 'elsewhere', 'refused'],
  [{ role: 'destination', state: 'committed' }, 'here', 'committed'],
  [{ role: 'destination', state: 'refused' }, 'elsewhere', 'refused']
]

for (const [step, whereabouts, after] of kCases) {
  t.test(`after a crash of the ${step.role} in ${step.state}`, async (t) => {
    const path = join(temporary(t), 'journal')
    await written(path, step)
    for (const _ of [1, 2]) {
      await using journal = await Journal.open(path)
      const { record, ...known } = journal.ownershipOf('web')!
      t.same(known, { whereabouts, epoch: 3 })
      t.equal(record.state, after)
      t.equal(journal.ownershipOf('other'), null)
    }
  })
}

t.test('cut off at every byte: the records before count, the torn one does not', async (t) => {
  const path = join(temporary(t), 'journal')
  await written(path, { role: 'source', state: 'kept' }, { role: 'source', state: 'moved' })
  const whole = readFileSync(path)
  const first = whole.indexOf(10) + 1
  for (let length = 0; length < whole.length; length++) {
    writeFileSync(path, whole.subarray(0, length))
    await using journal = await Journal.open(path)
    const state = journal.ownershipOf('web')?.record.state
    t.equal(state, length < first ? undefined : 'kept')
    if (t.passing()) continue
    return
  }
  // What was cut is gone from the file: what comes next stands on a line of its own.
  await written(path, { role: 'source', state: 'moved' })
  await using journal = await Journal.open(path)
  t.equal(journal.ownershipOf('web')!.record.state, 'moved')
})

t.test('a flipped bit anywhere before the last record is damage, and never another state', async (t) => {
  const path = join(temporary(t), 'journal')
  await written(path, { role: 'source', state: 'moved' }, { role: 'destination', state: 'committed' })
  const whole = readFileSync(path)
  const first = whole.indexOf(10) + 1
  for (let at = 0; at < whole.length; at += 3) {
    const bytes = Buffer.from(whole)
    bytes[at]! ^= 1 << (at % 8)
    writeFileSync(path, bytes)
    const state = await Journal.open(path).then(async (journal) => {
      await using opened = journal
      return opened.ownershipOf('web')?.record.state
    }, (error: BlockferryError) => error.code)
    // The last record can't be told from a torn one.
    const expected = at < first ? ['JOURNAL'] : ['moved', 'JOURNAL']
    if (!expected.includes(state!)) t.fail(`bit of byte ${at}: ${state}`)
  }
  t.pass()
})

t.test('the size of a disk on larger storage stays with it, however its migrations end', async (t) => {
  const path = join(temporary(t), 'journal')
  const disks = [{ name: 'web', epoch: 3, size: 4608 }]
  await using journal = await Journal.open(path)
  t.equal(journal.sizeOf('web'), null)
  await journal.write({ migration: kMigration, role: 'source', state: 'committing', disks })
  await journal.recordOutcome(journal.unknown()[0]!, 'kept')
  t.match(journal.ownershipOf('web'), { epoch: 2, whereabouts: 'here' })
  t.equal(journal.sizeOf('web'), 4608)
})

t.test('a size that none can have is of another version', async (t) => {
  for (const size of ['4608', 0, -512, 0.5]) {
    const path = join(temporary(t), 'journal')
    {
      await using journal = await Journal.open(path)
      const disks = [{ name: 'web', epoch: 3, size: size as number }]
      await journal.write({ migration: kMigration, role: 'source', state: 'kept', disks })
    }
    await t.rejects(Journal.open(path), { code: 'JOURNAL' })
  }
})

t.test('one process at a time, and nobody else reads it', async (t) => {
  const path = join(temporary(t), 'journal')
  await using journal = await Journal.open(path)
  t.equal(statSync(path).mode & 0o777, 0o600)
  await t.rejects(Journal.open(path), { code: 'BUSY' })
  await journal.write({ migration: kMigration, role: 'source', state: 'kept', disks: kDisks })
})

t.test('what is no journal is left as it is', async (t) => {
  const dir = temporary(t)
  const path = join(dir, 'notes')
  writeFileSync(path, 'first line\nsecond line\nthird')
  await t.rejects(Journal.open(path), { code: 'JOURNAL' })
  t.equal(readFileSync(path, 'utf8'), 'first line\nsecond line\nthird')
  await t.rejects(Journal.open(dir), { code: 'IS_DIRECTORY' })
  await t.rejects(Journal.open(join(dir, 'no', 'folder')), { code: 'NOT_FOUND' })
  chmodSync(path, 0o600)
  truncateSync(path, 0)
  appendFileSync(path, '')
  await using journal = await Journal.open(path)
  t.same(journal.names(), [])
})

t.test('tokens', async (t) => {
  for (const committed of [true, false]) {
    const token = tokenOf({ migration: kMigration, committed })
    t.same(parseToken(` ${token}\n`), { migration: kMigration, committed })
    for (let at = 0; at < token.length; at++) {
      const slip = token.slice(0, at) + (token[at] === '0' ? '1' : '0') + token.slice(at + 1)
      t.throws(() => parseToken(slip), { code: 'INVALID' })
    }
  }
})

t.test('a record whose page was lost is not believed', { skip: kNeedsRoot }, async (t) => {
  const dir = temporary(t)
  const host = smallDisk(t, join(dir, 'host'), 16)
  const image = join(host.path, 'image')
  writeFileSync(image, '')
  truncateSync(image, 64 << 20)
  const device = loopDevice(t, image)
  execFileSync('mkfs.ext4', ['-q', '-O', '^has_journal', '-E', 'lazy_itable_init=0', device])
  mkdirSync(join(dir, 'mounted'))
  execFileSync('mount', [device, join(dir, 'mounted')])
  t.teardown(() => { execFileSync('umount', [join(dir, 'mounted')]) })
  const path = join(dir, 'mounted', 'journal')
  // A place of its own in the file system, and none below it.
  execFileSync('fallocate', ['--length', '64KiB', path])
  truncateSync(path, 0)
  spawnSync('sync')
  spawnSync('dd', ['if=/dev/zero', `of=${join(host.path, 'rest')}`, 'bs=1M'])
  writeFileSync(path, lineOf({ migration: 'web', role: 'destination', state: 'committed', disks: [] }))
  t.not(spawnSync('sync', [path]).status, 0, 'the page is lost, and this was told')
  t.match(readFileSync(path, 'utf8'), /committed/, 'it can be read')
  await t.rejects(Journal.open(path), { code: /^(IO_ERROR|NO_SPACE)$/ })
})
