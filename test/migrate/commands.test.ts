// Commands at the moments that matter: before the migration has begun, and right before the commit.
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import t from 'tap'

import { Journal, migrate } from '../../lib/index.js'
import { InMemoryMachine } from '../../lib/machine/in-memory.js'
import { hashOf } from '../../testbed/support/images.js'
import { makePair } from '../support/pair.js'

t.test('switchover() in the turn of migrate() itself', async (t) => {
  const { source, receiver, image, target } = await makePair(t)
  const migration = migrate({ disks: [{ source }], destination: receiver.address, switchover: 'manual' })
  migration.switchover()
  const report = await migration
  t.equal(report.equal, true)
  t.equal(await hashOf(target), await hashOf(image))
})

t.test('pause() in the turn of migrate() itself: nothing is sent until resume()', async (t) => {
  const { source, receiver } = await makePair(t)
  const migration = migrate({ disks: [{ source }], destination: receiver.address })
  migration.pause()
  let sent = 0
  const seen = new Promise<void>((resolve) => {
    migration.on('progress', ({ sentBytes }) => {
      sent = sentBytes
      resolve()
    })
  })
  await seen
  t.equal(sent, 0)
  migration.resume()
  t.equal((await migration).equal, true)
})

t.test('cancel() when the destination is about to be told to decide is too late', async (t) => {
  const { source, receiver, image, target } = await makePair(t)
  const migration = migrate({ disks: [{ source }], destination: receiver.address })
  const answers: boolean[] = []
  migration.on('switchover', ({ step }) => { if (step === 'commit') answers.push(migration.cancel()) })
  t.equal((await migration).equal, true)
  t.same(answers, [false])
  t.equal(source.state, 'refusing')
  t.equal(await hashOf(target), await hashOf(image))
})

t.test('cancel() while the writers are waited for the last time is in time', async (t) => {
  const { source, receiver } = await makePair(t)
  const migration = migrate({ disks: [{ source }], destination: receiver.address })
  const drain = source.native.drain.bind(source.native)
  const answers: boolean[] = []
  let calls = 0
  const value = async (timeoutMs: number) => {
    await drain(timeoutMs)
    if (++calls === 2) answers.push(migration.cancel())
  }
  Object.defineProperty(source.native, 'drain', { value })
  await t.rejects(migration, { code: 'CANCELLED', owner: 'source' })
  t.same(answers, [true])
  t.equal(source.state, 'open')
  t.equal(receiver.taps.size, 0)
})

t.test('cancel() when it is over', async (t) => {
  const { source, receiver } = await makePair(t)
  const migration = migrate({ disks: [{ source }], destination: receiver.address })
  await migration
  t.equal(migration.cancel(), false)
})

t.test('budgets of the turn of migrate() itself are what a crashed migration goes on with', async (t) => {
  const { dir, source, receiver } = await makePair(t)
  await using journal = await Journal.open(join(dir, 'journal'))
  const migration = migrate({ disks: [{ source }], destination: receiver.address, switchover: 'manual', journal })
  migration.setLimits({ bandwidth: '1MB/s' })
  await new Promise<void>((resolve) => migration.on('started', () => resolve()))
  t.match(journal.lastPlan(), { budgets: { bandwidth: 1e6, downtime: 300 } })
  migration.cancel()
  await t.rejects(migration, { code: 'CANCELLED' })
})

t.test('cancelled before it has begun: no hook is called', async (t) => {
  const { source, receiver } = await makePair(t)
  const calls: string[] = []
  const call = (name: string) => () => { calls.push(name) }
  const migration = migrate({
    disks: [{ source }],
    destination: receiver.address,
    network: { prepare: call('prepare'), switchOver: call('switchOver'), undo: call('undo') }
  })
  migration.cancel()
  await t.rejects(migration, { code: 'CANCELLED', owner: 'source' })
  t.same(calls, [])
})

t.test('a machine that can\'t be let go of: the migration ends all the same, and keeps no date', async (t) => {
  const { source, receiver } = await makePair(t)
  class Stuck extends InMemoryMachine {
    override async close (): Promise<void> {
      throw new Error('made up')
    }
  }
  const { setTimeout } = globalThis
  let looks = 0
  t.teardown(() => { globalThis.setTimeout = setTimeout })
  const date = new Date(Date.now() + 3_600_000)
  const migration = migrate({
    disks: [{ source }], destination: receiver.address, machine: new Stuck(1 << 20), switchover: date
  })
  await t.rejects(migration, { code: 'MACHINE', owner: 'source' }, 'nobody waits for a machine there')
  // The date is looked at each second.
  globalThis.setTimeout = ((...args: Parameters<typeof setTimeout>) => {
    if (args[1] === 1000) looks++
    return setTimeout(...args)
  }) as typeof setTimeout
  const events: string[] = []
  for await (const { event } of migration) events.push(event)
  t.equal(events.at(-1), 'failed')
  await sleep(1500)
  t.equal(looks, 0, 'nobody looks at the date any more')
  t.equal(source.state, 'open')
})

t.test('a machine that is gone says so, whatever it says', async (t) => {
  for (const reason of [new Error('made up'), Object.assign(new Error('reset'), { code: 'ECONNRESET', errno: -104 })]) {
    const { source, receiver } = await makePair(t)
    class Mortal extends InMemoryMachine {
      async untilGone (): Promise<Error> {
        return reason
      }
    }
    const events: string[] = []
    const migration = migrate({ disks: [{ source }], destination: receiver.address, machine: new Mortal(1 << 20) })
    migration.on('reconnecting', ({ event }) => { events.push(event) })
    await t.rejects(migration, { code: 'MACHINE', owner: 'source', message: /the machine is gone/ })
    t.same(events, [])
  }
})
