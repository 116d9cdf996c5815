// The link or the destination goes at the very commit: the source knows who owns the disk, or
// says that it does not know and holds every write. Never can both sides write.
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Test } from 'tap'
import t from 'tap'

import type { BlockferryError } from '../../lib/index.js'
import { migrate, recover } from '../../lib/index.js'
import { native } from '../../lib/native/addon.js'
import type { Frame } from '../support/frame-proxy.js'
import { FrameProxy, message } from '../support/frame-proxy.js'
import { hashOf, temporary } from '../../testbed/support/images.js'
import type { Pair } from '../support/pair.js'
import { makePair } from '../support/pair.js'
import { receiverProcess } from '../support/receiver-process.js'
import { checkUnharmed, failureOf, writesOn } from '../support/unharmed.js'
import { Writer } from '../../testbed/support/writer.js'

interface Commit {
  pair: Pair
  proxy: FrameProxy
  writer: Writer
  result: Promise<BlockferryError | null>
  release: () => void
}

/** A migration that has come to a frame of its switchover; null: it went through. */
async function commitUntil (
  t: Test, fits: (frame: Frame) => boolean, to?: { host: string, port: number }, linkTimeout = '1s'
): Promise<Commit> {
  const pair = await makePair(t)
  const proxy = await FrameProxy.to(to ?? pair.receiver.address)
  t.teardown(() => proxy.close())
  const writer = await Writer.start(pair.socket, 'web', 1000)
  let isDue = false
  const { held, release } = proxy.hold((frame) => isDue && fits(frame))
  const migration = migrate({
    disks: [{ source: pair.source }], destination: proxy.address, linkTimeout, reconnect: 0
  })
  migration.on('switchover', ({ step }) => { isDue ||= step === 'residual' })
  const result = migration.then(() => null, (error: unknown) => error as BlockferryError)
  await Promise.race([held, result])
  return { pair, proxy, writer, result, release }
}

/** Nobody knows who owns it: no write gets through, and none has failed. */
async function checkHeld (t: Test, { pair, writer }: Commit): Promise<void> {
  t.equal(pair.source.state, 'holding')
  const before = await hashOf(pair.image)
  const { writes } = writer
  await sleep(100)
  t.equal(writer.writes, writes, 'no write gets through')
  t.equal(await hashOf(pair.image), before)
  t.equal(writer.error, null, 'none has failed')
  t.match(await failureOf(migrate({
    disks: [{ source: pair.source }], destination: pair.receiver.address
  })), { code: 'REFUSED', owner: 'unknown' }, 'it does not move either')
  pair.source.refuse() // what an operator does who found that the destination owns it
  await writer.stop()
  t.match(writer.error, { code: 'EPERM' })
}

async function checkMoved (t: Test, { pair, writer, result }: Commit): Promise<void> {
  t.equal(await result, null)
  t.equal(pair.source.state, 'refusing')
  t.equal(pair.receiver.taps.get('web')!.state, 'open')
  await writer.stop()
  t.match(writer.error, { code: 'EPERM' }, 'what was held is refused')
  t.same(writer.lostIn(pair.target), [])
  t.equal(await hashOf(pair.target), await hashOf(pair.image))
}

const kLastMark = ({ type }: Frame) => type === 'mark'
const kCommit = message('commit')
const kCommitted = message('committed')

for (const [name, fits] of [['the last mark', kLastMark], ['the commit', kCommit]] as const) {
  t.test(`cut at ${name}, and the link comes back: the source owns it`, async (t) => {
    const commit = await commitUntil(t, fits)
    t.equal(commit.pair.source.state, 'holding')
    commit.proxy.cut()
    commit.proxy.restore()
    t.match(await commit.result, { code: 'PEER_GONE', owner: 'source', resumable: true })
    t.equal(commit.pair.receiver.taps.size, 0)
    await checkUnharmed(t, commit.pair, commit.writer)
  })
}

t.test('the commit arrives when the source has asked already: the source owns it', async (t) => {
  const commit = await commitUntil(t, kCommit)
  await sleep(200) // all that goes before it arrives
  commit.proxy.forsake()
  t.match(await commit.result, { code: 'PEER_GONE', owner: 'source', resumable: true })
  commit.release()
  await sleep(300) // for the destination to do what it must not
  t.equal(commit.pair.receiver.taps.size, 0)
  await checkUnharmed(t, commit.pair, commit.writer)
})

t.test('the receiver is closed, but waits for the source that it lost: the source owns it', async (t) => {
  const commit = await commitUntil(t, kCommit, undefined, '5s')
  const { receiver } = commit.pair
  const lost = new Promise((resolve) => receiver.on('failed', resolve))
  commit.proxy.cut()
  await lost
  let isClosed = false
  const closed = receiver.close({ waitForLost: true }).then(() => { isClosed = true })
  await sleep(200) // a receiver that does not wait is gone by now
  t.equal(isClosed, false)
  commit.proxy.restore()
  t.match(await commit.result, { code: 'PEER_GONE', owner: 'source', resumable: true })
  await closed
  t.equal(receiver.taps.size, 0)
  await writesOn(t, commit.writer)
  await commit.writer.stop()
})

t.test('cut at the word of the commit, and it comes back: the destination owns it', async (t) => {
  const commit = await commitUntil(t, kCommitted)
  t.equal(commit.pair.source.state, 'holding')
  commit.proxy.cut()
  commit.proxy.restore()
  await checkMoved(t, commit)
})

t.test('the answer to who owns it is lost, too, and comes the second time', async (t) => {
  const commit = await commitUntil(t, kCommitted)
  const answer = commit.proxy.hold(message('outcome'))
  commit.proxy.cut()
  commit.proxy.restore()
  await answer.held
  commit.proxy.cut()
  commit.proxy.restore()
  await checkMoved(t, commit)
})

t.test('cut at the commit, for good: unknown, and the destination does not own it', async (t) => {
  const commit = await commitUntil(t, kCommit)
  const told = new Promise((resolve) => commit.pair.receiver.on('failed', resolve))
  commit.proxy.cut()
  t.match(await commit.result, { code: 'OWNER_UNKNOWN', owner: 'unknown', resumable: true })
  await told
  t.equal(commit.pair.receiver.taps.size, 0)
  await checkHeld(t, commit)
})

t.test('cut at the commit, and it can\'t even be asked: unknown', async (t) => {
  const commit = await commitUntil(t, kCommit)
  const { Sender } = native
  t.teardown(() => { native.Sender = Sender })
  native.Sender = class { constructor () { throw new Error('std::bad_alloc') } } as unknown as typeof Sender
  commit.proxy.cut()
  t.match(await commit.result, { code: 'OWNER_UNKNOWN', owner: 'unknown', cause: { code: 'NO_MEMORY' } })
  native.Sender = Sender
  await checkHeld(t, commit)
})

t.test('cut at the word of the commit, for good: unknown, one side writes', async (t) => {
  const commit = await commitUntil(t, kCommitted)
  commit.proxy.cut()
  t.match(await commit.result, { code: 'OWNER_UNKNOWN', owner: 'unknown', resumable: true })
  t.equal(commit.pair.receiver.taps.get('web')!.state, 'open')
  t.equal(await hashOf(commit.pair.target), await hashOf(commit.pair.image))
  await checkHeld(t, commit)
})

const deaths = [
  ['the last mark', kLastMark],
  ['the commit', kCommit],
  ['its last verification', message('verified')],
  ['its word of the commit', kCommitted]
] as const
for (const [name, fits] of deaths) {
  t.test(`the destination is killed at ${name}: unknown`, async (t) => {
    const target = join(temporary(t), 'other.img')
    const { child, address } = await receiverProcess(t, target)
    const commit = await commitUntil(t, fits, address)
    child.kill('SIGKILL')
    await once(child, 'close')
    commit.proxy.cut()
    commit.proxy.restore()
    t.match(await commit.result, { code: 'OWNER_UNKNOWN', owner: 'unknown', resumable: true })
    if (fits === kCommitted) t.equal(await hashOf(target), await hashOf(commit.pair.image))
    await checkHeld(t, commit)
  })
}

t.test('the destination is killed at its word of the commit: its journal has it', async (t) => {
  const dir = temporary(t)
  const journal = join(dir, 'journal')
  const { child, address } = await receiverProcess(t, join(dir, 'other.img'), journal)
  const commit = await commitUntil(t, kCommitted, address)
  child.kill('SIGKILL')
  await once(child, 'close')
  commit.proxy.cut()
  t.match(await recover(journal), [{ owner: 'destination', here: 'here' }])
  t.match(await commit.result, { code: 'OWNER_UNKNOWN', owner: 'unknown' })
  await checkHeld(t, commit)
})

t.test('the destination is stopped, and decides later: the source holds', async (t) => {
  const { child, address, outcome } = await receiverProcess(t, join(temporary(t), 'other.img'))
  const commit = await commitUntil(t, kCommit, address)
  child.kill('SIGSTOP')
  commit.release()
  t.match(await commit.result, { code: 'OWNER_UNKNOWN', owner: 'unknown' })
  child.kill('SIGCONT')
  t.comment(`it decided: ${await outcome}`)
  await checkHeld(t, commit)
})

t.test('the destination is killed in the rounds; its data serves the next one', async (t) => {
  const pair = await makePair(t)
  const writer = await Writer.start(pair.socket, 'web', 1000)
  const target = join(pair.dir, 'other.img')
  const { child, address } = await receiverProcess(t, target)
  const migration = migrate({
    disks: [{ source: pair.source }], destination: address, switchover: 'manual', reconnect: 0
  })
  migration.on('ready', () => child.kill('SIGKILL'))
  t.match(await failureOf(migration), { code: 'PEER_GONE', owner: 'source', resumable: true })
  const next = await receiverProcess(t, target)
  await checkUnharmed(t, pair, writer, next.address, target)
})
