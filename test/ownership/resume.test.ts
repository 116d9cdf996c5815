// resume(): a migration goes on after a crash, from what its journal holds.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

import t from 'tap'

import type { OwnershipRecord } from '../../lib/index.js'
import { Journal, migrate, openTap, resume } from '../../lib/index.js'
import { hashOf, makeImage, temporary } from '../../testbed/support/images.js'
import { receiverProcess } from '../support/receiver-process.js'
import { failureOf } from '../support/unharmed.js'

const kSize = 32 << 20
const kLibrary = new URL('../../lib/index.js', import.meta.url).href
/** Copies, and waits; told to switch over by nobody. */
const kProgram = `
  import { migrate } from ${JSON.stringify(kLibrary)}
  const [image, destination, journal] = process.argv.slice(1)
  const migration = migrate({
    disks: [{ source: image, name: 'web' }], destination, journal, switchover: 'manual',
    blockSize: '16KiB', streams: 3, budgets: { downtime: '1s', bandwidth: '900MB/s' }
  })
  migration.on('ready', () => console.log('ready'))
  await migration`

t.test('the source\'s process is killed', async (t) => {
  const dir = temporary(t)
  const image = makeImage(join(dir, 'a.img'), kSize)
  const [target, journal] = [join(dir, 'b.img'), join(dir, 'a.journal')]
  const { address, outcome } = await receiverProcess(t, target)
  const args = ['--input-type=module', '-e', kProgram, image, `127.0.0.1:${address.port}`, journal]
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NODE_OPTIONS: '' }
  })
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.equal(await outcome, 'PEER_GONE')
  const migration = resume(journal, { budgets: { downtime: '2s' } })
  const events: string[] = []
  migration.on('started', () => events.push('started'))
  migration.on('ready', () => {
    events.push('ready')
    migration.switchover()
  })
  const report = await migration
  t.equal(report.equal, true)
  t.ok(report.bytes.same >= kSize / 2, `${report.bytes.same} bytes were there`)
  t.equal(await hashOf(target), await hashOf(image))
  t.same(events, ['started', 'ready'], 'it can be listened to from the start, and switches over when told')
  await using after = await Journal.open(journal)
  t.match(after.lastPlan(), {
    disks: [{ name: 'web', source: image }],
    blockSize: 16384,
    streams: 3,
    budgets: { downtime: 2000, bandwidth: 900e6 },
    switchover: 'manual',
    machine: false
  }, 'as it was begun, but for what was given')
})

t.test('the destination\'s process is killed, and comes back elsewhere', async (t) => {
  const dir = temporary(t)
  const image = makeImage(join(dir, 'a.img'), kSize)
  const [target, journal] = [join(dir, 'b.img'), join(dir, 'a.journal')]
  const first = await receiverProcess(t, target)
  await using source = await openTap({ source: image, name: 'web', map: join(dir, 'web.map') })
  const migration = migrate({
    disks: [{ source }], destination: first.address, journal, switchover: 'manual', reconnect: 0
  })
  migration.on('progress', () => {
    if (source.rememberedBytes > kSize / 2) first.child.kill('SIGKILL')
  })
  t.match(await failureOf(migration), { code: 'PEER_GONE', owner: 'source', resumable: true })
  const second = await receiverProcess(t, target)
  const report = await resume(journal, {
    disks: [{ source }], destination: second.address, switchover: 'auto'
  })
  t.equal(await second.outcome, 'committed')
  t.ok(report.bytes.same >= kSize / 2, `${report.bytes.same} bytes were there`)
  t.equal(await hashOf(target), await hashOf(image))
  t.match(await failureOf(resume(journal, { disks: [{ source }] })), { code: 'REFUSED' }, 'it has moved')
})

t.test('what can not go on', async (t) => {
  const dir = temporary(t)
  const path = join(dir, 'journal')
  t.match(await failureOf(resume(path)), { code: 'NOT_FOUND' }, 'nothing was begun')
  const record: Omit<OwnershipRecord, 'at'> = {
    migration: '0b0e7a52-4f7b-4a7a-9d3a-2f6d3b6f7f10', role: 'source', state: 'committing', disks: [{ name: 'web', epoch: 2 }]
  }
  const plan = {
    disks: [{ name: 'web', source: makeImage(join(dir, 'a.img'), 1 << 20) }],
    destination: '127.0.0.1:1',
    budgets: { downtime: 300 },
    machine: true,
    network: false
  }
  await using journal = await Journal.open(path)
  await journal.write(record)
  t.match(await failureOf(resume(journal)), { code: 'NOT_FOUND' }, 'an older version wrote no plan')
  await journal.write({ ...record, plan })
  t.match(await failureOf(resume(journal)), { code: 'INVALID', message: /machine/ })
  await journal.write({ ...record, plan: { ...plan, sharedBandwidth: true } })
  t.match(await failureOf(resume(journal, { machine: {} })), { code: 'INVALID', message: /bandwidth/ })
  await journal.write({ ...record, plan })
  const unknown = await failureOf(resume(journal, { machine: {} }))
  t.match(unknown, { code: 'REFUSED', owner: 'unknown' })
  t.match(await failureOf(resume(join(dir, 'no', 'journal'))), { code: 'NOT_FOUND' })
  await journal.write({ ...record, plan, state: 'moved' })
  t.match(await failureOf(resume(journal, { machine: {} })), { code: 'REFUSED', owner: 'destination' })
  const back = { ...record, migration: '5d1f6a0e-7c52-4a53-8f0c-0c8f8f0e9a11', role: 'destination' as const }
  await journal.write({ ...back, state: 'committed', disks: [{ name: 'web', epoch: 3 }] })
  const done = await failureOf(resume(journal, { machine: {} }))
  t.match(done, { code: 'NOT_FOUND' }, 'it moved, and came back since')
})
