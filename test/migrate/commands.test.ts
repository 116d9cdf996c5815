// Commands at the moments that matter: before the migration has begun, and right before the commit.
import t from 'tap'

import { migrate } from '../../lib/index.js'
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
  const settle = source.native.settle.bind(source.native)
  const answers: boolean[] = []
  let calls = 0
  const value = async (timeoutMs: number) => {
    await settle(timeoutMs)
    if (++calls === 2) answers.push(migration.cancel())
  }
  Object.defineProperty(source.native, 'settle', { value })
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
