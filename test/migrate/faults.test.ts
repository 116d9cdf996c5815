// What can go wrong on the way: the source is unharmed, the writer sees no error, and never do
// both sides own the disk, nor neither without saying so.
import { existsSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import type { BlockferryError, MigrateOptions, Migration } from '../../lib/index.js'
import { migrate, openTap, receive } from '../../lib/index.js'
import { NbdClient } from '../../lib/nbd/client.js'
import { hashOf, makeImage, noise, temporary } from '../../testbed/support/images.js'
import { makePair } from '../support/pair.js'
import { Proxy } from '../support/proxy.js'
import { receiverProcess } from '../support/receiver-process.js'
import { kNeedsRoot, smallDisk } from '../support/root.js'
import { checkUnharmed, failureOf, reach } from '../support/unharmed.js'
import { Writer } from '../../testbed/support/writer.js'

const slow = { budgets: { bandwidth: '8MB/s' } }

t.test('aborted before it began', async (t) => {
  const pair = await makePair(t)
  const writer = await Writer.start(pair.socket, 'web', 1000)
  const error = await failureOf(migrate({
    disks: [{ source: pair.source }], destination: pair.receiver.address, signal: AbortSignal.abort()
  }))
  t.match(error, { code: 'CANCELLED', owner: 'source' })
  await checkUnharmed(t, pair, writer)
})

const abortAt: Array<[string, Partial<MigrateOptions>, (m: Migration) => Promise<void>]> = [
  ['in the bulk copy', slow, (m) => reach(m, 'progress', ({ sentBytes }) => sentBytes > 4e6)],
  ['in the rounds', { switchover: 'manual' }, (m) => reach(m, 'ready')],
  ['while pausing', {}, (m) => reach(m, 'switchover', ({ step }) => step === 'pause')],
  ['in the residual', {}, (m) => reach(m, 'switchover', ({ step }) => step === 'residual')]
]
for (const [when, options, moment] of abortAt) {
  t.test(`aborted ${when}`, async (t) => {
    const pair = await makePair(t)
    const writer = await Writer.start(pair.socket, 'web', 1000)
    const abort = new AbortController()
    const migration = migrate({
      disks: [{ source: pair.source }],
      destination: pair.receiver.address,
      machine: { pause: () => writer.pause(), resume: () => writer.resume() },
      signal: abort.signal,
      ...options
    })
    void moment(migration).then(() => abort.abort())
    const error = await failureOf(migration)
    t.match(error, { code: 'CANCELLED', owner: 'source', resumable: true })
    t.ok(existsSync(pair.target), 'what was copied is kept')
    await checkUnharmed(t, pair, writer)
  })
}

t.test('aborted too late', async (t) => {
  const pair = await makePair(t)
  const abort = new AbortController()
  const migration = migrate({
    disks: [{ source: pair.source }], destination: pair.receiver.address, signal: abort.signal
  })
  let accepted: boolean | null = null
  migration.on('switchover', ({ step }) => {
    if (step !== 'commit') return
    queueMicrotask(() => {
      abort.abort()
      accepted = migration.cancel()
    })
  })
  t.equal((await migration).equal, true)
  t.equal(accepted, false)
  t.equal(pair.source.state, 'refusing')
})

t.test('cancelled, and what was copied is deleted', async (t) => {
  const pair = await makePair(t)
  const migration = migrate({ disks: [{ source: pair.source }], destination: pair.receiver.address, ...slow })
  const ended = new Promise((resolve) => pair.receiver.on('failed', resolve))
  await reach(migration, 'progress', ({ sentBytes }) => sentBytes > 1e6)
  t.ok(existsSync(pair.target))
  t.equal(migration.cancel({ destination: 'delete' }), true)
  t.match(await failureOf(migration), { code: 'CANCELLED' })
  await ended
  t.notOk(existsSync(pair.target))
})

t.test('a machine that does not pause', async (t) => {
  const pair = await makePair(t)
  const writer = await Writer.start(pair.socket, 'web', 1000)
  const error = await failureOf(migrate({
    disks: [{ source: pair.source }],
    destination: pair.receiver.address,
    machine: { pause: () => { throw new Error('the monitor is gone') } }
  }))
  t.match(error, { code: 'MACHINE', owner: 'source', message: /the monitor is gone/ })
  await checkUnharmed(t, pair, writer)
})

t.test('a deadline that passes', async (t) => {
  const pair = await makePair(t)
  const writer = await Writer.start(pair.socket, 'web', 1000)
  const error = await failureOf(migrate({
    disks: [{ source: pair.source }],
    destination: pair.receiver.address,
    budgets: { bandwidth: '2MB/s', deadline: '500ms' }
  }))
  t.match(error, { code: 'DEADLINE', owner: 'source' })
  await checkUnharmed(t, pair, writer)
})

t.test('the link is cut in the bulk copy', async (t) => {
  const pair = await makePair(t)
  const proxy = await Proxy.to(pair.receiver.address)
  const writer = await Writer.start(pair.socket, 'web', 1000)
  const migration = migrate({ disks: [{ source: pair.source }], destination: proxy.address, reconnect: 0, ...slow })
  const told = new Promise<any>((resolve) => pair.receiver.on('failed', resolve))
  await reach(migration, 'progress', ({ sentBytes }) => sentBytes > 4e6)
  proxy.cut()
  t.match(await failureOf(migration), { code: 'PEER_GONE', owner: 'source', resumable: true })
  t.match((await told).error.code, 'PEER_GONE', 'the receiver is told too')
  await proxy.close()
  await checkUnharmed(t, pair, writer)
})

for (const step of ['pause', 'residual', 'commit']) {
  for (const back of [false, true]) {
    t.test(`the link is cut in the switchover (${step}), ${back ? 'and comes back' : 'for good'}`, async (t) => {
      const pair = await makePair(t)
      const proxy = await Proxy.to(pair.receiver.address)
      const writer = await Writer.start(pair.socket, 'web', 1000)
      let committed = false
      pair.receiver.on('committed', () => { committed = true })
      const migration = migrate({
        disks: [{ source: pair.source }],
        destination: proxy.address,
        machine: { pause: () => writer.pause(), resume: () => writer.resume() },
        linkTimeout: '1s', reconnect: 0
      })
      migration.on('switchover', (event) => {
        if (event.step !== step) return
        proxy.cut()
        if (back) setTimeout(() => proxy.restore(), 200)
      })
      const result = await migration.then(() => 'destination', (error: unknown) => (error as BlockferryError).owner)
      await proxy.close()
      if (result === 'unknown') {
        t.equal(step, 'commit')
        t.equal(pair.source.state, 'holding', 'no write gets through while the owner is unknown')
      } else if (result === 'destination') {
        t.ok(committed)
        t.equal(pair.source.state, 'refusing')
      } else {
        t.notOk(committed)
        t.equal(pair.source.state, 'open')
      }
      t.notOk(committed && pair.source.state === 'open', 'never two owners')
      if (back) t.not(result, 'unknown', 'with the link back it is settled')
      if (result === 'source') return await checkUnharmed(t, pair, writer)
      await writer.stop()
    })
  }
}

t.test('a bit is flipped on the way', async (t) => {
  const pair = await makePair(t)
  const writer = await Writer.start(pair.socket, 'web', 1000)
  // In a header, in a payload, far into the copy.
  for (const bytes of [100, 5_000, 1_000_000, 3_000_001]) {
    const proxy = await Proxy.to(pair.receiver.address)
    const migration = migrate({ disks: [{ source: pair.source }], destination: proxy.address, reconnect: 0, ...slow })
    await reach(migration, 'started')
    proxy.flipAfter(bytes)
    const error = await failureOf(migration)
    t.match(error, { owner: 'source' }, `after ${bytes} bytes`)
    t.ok(['CHECKSUM', 'PROTOCOL', 'VERSION'].includes(error.code), error.code)
    await proxy.close()
  }
  await checkUnharmed(t, pair, writer)
})

t.test('the link stalls', async (t) => {
  const pair = await makePair(t)
  const proxy = await Proxy.to(pair.receiver.address)
  const writer = await Writer.start(pair.socket, 'web', 1000)
  const migration = migrate({
    disks: [{ source: pair.source }], destination: proxy.address, linkTimeout: '1s', reconnect: 0, ...slow
  })
  await reach(migration, 'progress', ({ sentBytes }) => sentBytes > 2e6)
  proxy.stall()
  t.match(await failureOf(migration), { code: 'TIMEOUT', owner: 'source' })
  await proxy.close()
  await checkUnharmed(t, pair, writer)
})

t.test('the residual does not get through in time: the pause is taken back', async (t) => {
  const pair = await makePair(t, 64 << 20)
  const proxy = await Proxy.to(pair.receiver.address)
  const writer = await Writer.start(pair.socket, 'web', 1000)
  const client = await NbdClient.open({ path: pair.socket, exportName: 'web' })
  const calls: string[] = []
  const migration = migrate({
    disks: [{ source: pair.source }],
    destination: proxy.address,
    budgets: { downtime: '2s' }, // the pause here takes its time
    machine: {
      // More than the sockets on the way hold is written at the last moment, and nothing passes.
      pause: async () => {
        await writer.pause()
        calls.push('pause')
        if (calls.length > 1) return
        proxy.stall()
        for (let at = 0; at < pair.source.size; at += 1 << 20) await client.write(at, noise(at + 5, 1 << 20))
        writer.acknowledged.clear()
      },
      resume: () => {
        calls.push('resume')
        writer.resume()
      }
    }
  })
  migration.on('resumed', () => proxy.flow())
  const report = await migration
  await client.disconnect()
  await writer.stop()
  t.same(calls.slice(0, 3), ['pause', 'resume', 'pause'])
  t.ok(report.attempts >= 2)
  t.equal(writer.error, null, 'the writer saw no error')
  t.same(writer.lostIn(pair.target), [])
  t.equal(await hashOf(pair.target), await hashOf(pair.image))
  await proxy.close()
})

t.test('after a cancel nothing runs on', async (t) => {
  const pair = await makePair(t)
  const migration = migrate({
    disks: [{ source: pair.source }], destination: pair.receiver.address, switchover: 'manual'
  })
  await reach(migration, 'ready')
  migration.cancel()
  await failureOf(migration)
  let events = 0
  migration.on('progress', () => { events++ })
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.equal(events, 0)
})

t.test('aborted while it connects, again and again', async (t) => {
  const pair = await makePair(t, 1 << 20)
  for (let round = 0; round < 30; round++) {
    const migration = migrate({ disks: [{ source: pair.source }], destination: pair.receiver.address })
    setTimeout(() => migration.cancel(), round % 10)
    const result = await migration.then(() => 'done', (error: unknown) => (error as BlockferryError).code)
    if (result === 'done') {
      t.equal(pair.source.state, 'refusing')
      break
    }
    t.equal(result, 'CANCELLED')
    t.equal(pair.source.state, 'open')
  }
})

t.test('the destination is full half-way', { skip: kNeedsRoot }, async (t) => {
  const dir = temporary(t)
  const small = smallDisk(t, join(dir, 'small'), 4).path
  const image = makeImage(join(dir, 'source.img'), 16 << 20)
  await using receiver = await receive({ disks: [{ destination: join(small, 'target.img') }] })
  await using source = await openTap({ source: image })
  const error = await failureOf(migrate({ disks: [{ source }], destination: receiver.address }))
  t.match(error, { code: 'NO_SPACE', owner: 'source' })
  t.equal(source.state, 'open')
})

for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
  t.test(`the destination gets ${signal} in the bulk copy`, async (t) => {
    const pair = await makePair(t)
    const writer = await Writer.start(pair.socket, 'web', 1000)
    const { child, address } = await receiverProcess(t, join(pair.dir, 'other.img'))
    const migration = migrate({
      disks: [{ source: pair.source }], destination: address, linkTimeout: '1s', reconnect: 0, ...slow
    })
    await reach(migration, 'progress', ({ sentBytes }) => sentBytes > 2e6)
    child.kill(signal)
    const error = await failureOf(migration)
    t.match(error, { owner: 'source', resumable: true })
    t.ok(['PEER_GONE', 'TIMEOUT'].includes(error.code), error.code)
    await checkUnharmed(t, pair, writer)
  })
}
