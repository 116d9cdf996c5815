// The disk under a journal fails. At the destination, just when the commit is written: it counts as
// refused only if that is certain. At the source, in the pause: nothing was sent, so it goes on.
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'

import t from 'tap'
import type { Test } from 'tap'

import type { BlockferryError } from '../../lib/index.js'
import { migrate, recover } from '../../lib/index.js'
import { receive } from '../../lib/receive.js'
import { hashOf } from '../../testbed/support/images.js'
import { makePair } from '../support/pair.js'
import { Proxy } from '../support/proxy.js'
import { checkUnharmed, failureOf } from '../support/unharmed.js'
import { Writer } from '../../testbed/support/writer.js'

/** Makes so many of the next datasync() calls of this process fail, each after what is done `before`. */
async function failingDatasync (t: Test, path: string): Promise<(count: number, before?: () => Promise<void>) => void> {
  const handle = await open(path, 'w')
  const prototype: FileHandle = Object.getPrototypeOf(handle)
  await handle.close()
  const { datasync } = prototype
  t.teardown(() => { prototype.datasync = datasync })
  let left = 0
  let then = async () => {}
  prototype.datasync = async function () {
    if (left-- <= 0) return await datasync.call(this)
    await then()
    throw Object.assign(new Error('EIO: made up'), { code: 'EIO', errno: -5 })
  }
  return (count, before = async () => {}) => {
    left = count
    then = before
  }
}

/** A migration under a writer whose destination can't write its commit down. `cut`: once while it copies
 * the link is lost. */
async function start (t: Test, failures: number, cut = false) {
  const pair = await makePair(t)
  const journal = join(pair.dir, 'journal')
  const fail = await failingDatasync(t, join(pair.dir, 'scratch'))
  const receiver = await receive({ disks: [{ destination: pair.target, name: 'web' }], journal, linkTimeout: '1s' })
  t.teardown(() => receiver.close())
  const errors: BlockferryError[] = []
  receiver.on('failed', ({ error }) => { errors.push(error) })
  const writer = await Writer.start(pair.socket, 'web', 1000)
  const link = await Proxy.to(receiver.address)
  t.teardown(() => link.close())
  const migration = migrate({
    disks: [{ source: pair.source }],
    destination: link.address,
    linkTimeout: '1s',
    ...(cut && { budgets: { bandwidth: '20MB/s' } })
  })
  let cuts = 0
  migration.on('progress', ({ sentBytes }) => { if (cut && sentBytes > 0 && cuts++ === 0) link.cut() })
  migration.on('reconnecting', () => link.restore())
  migration.on('switchover', ({ step }) => { if (step === 'commit') fail(failures) })
  const error = await failureOf(migration)
  fail(0)
  t.equal(cuts > 0, cut)
  return { pair, journal, receiver, writer, error, errors }
}

t.test('the record is taken back: the source owns the disk', async (t) => {
  const { pair, journal, receiver, writer, error } = await start(t, 1)
  t.match(error, { code: 'IO_ERROR', owner: 'source' })
  t.equal(receiver.taps.size, 0)
  await receiver.close()
  t.match(await recover(journal), [{ owner: 'source', here: 'elsewhere' }])
  await checkUnharmed(t, pair, writer)
})

for (const [cut, when] of [[false, ''], [true, ', after an attempt that came to nothing']] as const) {
  t.test(`nobody can tell whether it is there: neither side goes on${when}`, async (t) => {
    const { pair, journal, receiver, writer, error, errors } = await start(t, Infinity, cut)
    t.match(error, { code: 'OWNER_UNKNOWN', owner: 'unknown' })
    t.equal(pair.source.state, 'holding')
    t.equal(receiver.taps.size, 0)
    t.match(errors.at(-1), { owner: 'unknown' })
    const before = await hashOf(pair.image)
    await receiver.close()
    // What the disk really holds decides.
    const { owner } = (await recover(journal))[0]!
    t.ok(['source', 'destination'].includes(owner), owner)
    t.equal(await hashOf(pair.image), before, 'the source took no write')
    pair.source.refuse()
    await writer.stop()
  })
}

t.test('the link is lost before the disk refuses: who asks is told', async (t) => {
  const pair = await makePair(t)
  const fail = await failingDatasync(t, join(pair.dir, 'scratch'))
  const receiver = await receive({
    disks: [{ destination: pair.target, name: 'web' }], journal: join(pair.dir, 'journal'), linkTimeout: '1s'
  })
  // As `blockferry receive` without --keep-listening.
  receiver.on('failed', () => { void receiver.close({ waitForLost: true }) })
  t.teardown(() => receiver.close())
  const writer = await Writer.start(pair.socket, 'web', 1000)
  const link = await Proxy.to(receiver.address)
  t.teardown(() => link.close())
  const migration = migrate({
    disks: [{ source: pair.source }], destination: link.address, linkTimeout: '1s', reconnect: 0
  })
  migration.on('switchover', ({ step }) => {
    if (step === 'commit') {
      fail(1, async () => {
        link.cut()
        await setTimeout(100)
        link.restore()
      })
    }
  })
  t.match(await failureOf(migration), { owner: 'source' })
  await receiver.close()
  await checkUnharmed(t, pair, writer)
})

t.test('the disk hangs: the source does not wait for ever, and nobody goes on', async (t) => {
  const pair = await makePair(t)
  const handle = await open(join(pair.dir, 'scratch'), 'w')
  const prototype: FileHandle = Object.getPrototypeOf(handle)
  await handle.close()
  const { datasync } = prototype
  let release = () => {}
  const hung = new Promise<void>((resolve) => { release = resolve })
  let isHanging = false
  prototype.datasync = async function () {
    if (isHanging) await hung
    return await datasync.call(this)
  }
  t.teardown(() => { prototype.datasync = datasync })
  const receiver = await receive({
    disks: [{ destination: pair.target, name: 'web' }], journal: join(pair.dir, 'journal'), linkTimeout: '1s'
  })
  const writer = await Writer.start(pair.socket, 'web', 1000)
  const migration = migrate({ disks: [{ source: pair.source }], destination: receiver.address, linkTimeout: '1s' })
  migration.on('switchover', ({ step }) => { if (step === 'commit') isHanging = true })
  t.match(await failureOf(migration), { code: 'OWNER_UNKNOWN', owner: 'unknown' })
  t.equal(pair.source.state, 'holding')
  isHanging = false
  release()
  await receiver.done
  t.equal(receiver.taps.size, 1, 'it takes over when it can')
  t.same(writer.lostIn(pair.target), [])
  await receiver.close()
  for (const tap of receiver.taps.values()) await tap.close()
  pair.source.refuse()
  await writer.stop()
})

t.test("the source's journal fails in the pause, for good: the source goes on", async (t) => {
  const pair = await makePair(t)
  const fail = await failingDatasync(t, join(pair.dir, 'scratch'))
  const writer = await Writer.start(pair.socket, 'web', 1000)
  const calls: string[] = []
  const migration = migrate({
    disks: [{ source: pair.source }], destination: pair.receiver.address,
    journal: join(pair.dir, 'journal'),
    machine: { pause: () => { calls.push('pause') }, resume: () => { calls.push('resume') } }
  })
  migration.on('switchover', ({ step }) => { if (step === 'pause') fail(Infinity) })
  t.match(await failureOf(migration), { code: 'IO_ERROR', owner: 'source' })
  fail(0)
  t.same(calls, ['pause', 'resume'])
  await checkUnharmed(t, pair, writer)
})
