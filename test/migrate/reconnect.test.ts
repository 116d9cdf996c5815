// A link that is lost and comes back: the migration goes on by itself, and sends what is lacking.
import t from 'tap'
import type { Test } from 'tap'

import type { MigrateOptions, Migration } from '../../lib/index.js'
import { migrate } from '../../lib/index.js'
import { hashOf } from '../../testbed/support/images.js'
import { makePair } from '../support/pair.js'
import { Proxy } from '../support/proxy.js'
import { checkUnharmed, failureOf } from '../support/unharmed.js'
import { Writer } from '../../testbed/support/writer.js'

const kSize = 48 << 20

/** A migration through a proxy, under a writer. */
async function start (t: Test, options: Partial<MigrateOptions>) {
  const pair = await makePair(t, kSize)
  const proxy = await Proxy.to(pair.receiver.address)
  t.teardown(() => proxy.close())
  const writer = await Writer.start(pair.socket, 'web', 300)
  const migration = migrate({
    disks: [{ source: pair.source }], destination: proxy.address, compression: 'off', ...options
  })
  return { pair, proxy, writer, migration }
}

async function reach (migration: Migration, share: number): Promise<void> {
  await new Promise<void>((resolve) => {
    migration.on('progress', ({ sentBytes }) => { if (sentBytes > share * kSize) resolve() })
  })
}

t.test('cut again and again', async (t) => {
  const { pair, proxy, writer, migration } = await start(t, { budgets: { bandwidth: '30MB/s' } })
  let losses = 0
  migration.on('reconnecting', () => {
    losses++
    setTimeout(() => proxy.restore(), 300)
  })
  migration.on('reconnected', () => { if (losses < 3) void reach(migration, 0.8).then(() => proxy.cut()) })
  await reach(migration, 0.6)
  proxy.cut()
  const report = await migration
  await writer.stop()
  t.equal(losses >= 3, true)
  t.equal(report.equal, true)
  t.ok(report.bytes.same > kSize / 4, `${report.bytes.same} bytes were there`)
  t.match(writer.error, { code: 'EPERM' }, 'the writer saw no error before the source gave the disk away')
  t.same(writer.lostIn(pair.target), [])
  t.equal(await hashOf(pair.target), await hashOf(pair.image))
})

t.test('cut in the pause: the writers go on, and it is tried again', async (t) => {
  const { pair, proxy, writer, migration } = await start(t, {
    machine: { pause: () => { if (cuts++ === 0) proxy.cut() }, resume: () => { resumed++ } }, linkTimeout: '1s'
  })
  let [cuts, resumed] = [0, 0]
  migration.on('reconnecting', () => proxy.restore())
  const report = await migration
  await writer.stop()
  t.equal(report.equal, true)
  t.ok(resumed >= 1, 'resumed at the source')
  t.same(writer.lostIn(pair.target), [])
})

t.test('for good: it gives up in time, and the source goes on', async (t) => {
  const { pair, proxy, writer, migration } = await start(t, {
    budgets: { bandwidth: '20MB/s' }, reconnect: '2s'
  })
  await reach(migration, 0.6)
  proxy.cut()
  const error = await failureOf(migration)
  t.match(error, { owner: 'source', resumable: true })
  t.ok(['UNREACHABLE', 'PEER_GONE'].includes(error.code), error.code)
  await checkUnharmed(t, pair, writer)
})

t.test('cancelled while it waits for the link', async (t) => {
  const { pair, proxy, writer, migration } = await start(t, { budgets: { bandwidth: '20MB/s' } })
  await reach(migration, 0.6)
  migration.on('reconnecting', () => { migration.cancel() })
  proxy.cut()
  t.match(await failureOf(migration), { code: 'CANCELLED', owner: 'source' })
  await checkUnharmed(t, pair, writer)
})

t.test('a link that damages what it carries each time is none, however often it connects', async (t) => {
  const { pair, proxy, writer, migration } = await start(t, { reconnect: '2s' })
  const damage = () => proxy.flipAfter(200_000)
  migration.on('reconnected', damage)
  damage()
  t.match(await failureOf(migration), { code: 'CHECKSUM', owner: 'source', resumable: true })
  proxy.flipAfter(Infinity)
  await checkUnharmed(t, pair, writer)
})
