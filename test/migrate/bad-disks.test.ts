// Disks that can't be moved, or not to there: a clear code at both sides, the source unharmed.
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import type { BlockferryError } from '../../lib/index.js'
import { migrate, openTap, receive } from '../../lib/index.js'
import { hashOf, makeImage, temporary } from '../../testbed/support/images.js'

const kSize = 8 << 20

async function failureOf (promise: PromiseLike<unknown>): Promise<BlockferryError> {
  return await promise.then(() => { throw new Error('it should have failed') }, (error) => error)
}

t.test('sources', async (t) => {
  const dir = temporary(t)
  await using receiver = await receive({ disks: [{ destination: join(dir, 'target') }] })
  mkdirSync(join(dir, 'directory'))
  writeFileSync(join(dir, 'odd'), Buffer.alloc(1000))
  writeFileSync(join(dir, 'empty'), '')
  const cases = [
    ['missing', 'NOT_FOUND'], ['directory', 'IS_DIRECTORY'], ['odd', 'BAD_SIZE'], ['empty', 'BAD_SIZE']
  ] as const
  for (const [file, code] of cases) {
    const error = await failureOf(migrate({ disks: [{ source: join(dir, file) }], destination: receiver.address }))
    t.match(error, { code, owner: 'source' }, file)
  }
  await using holder = await openTap({ source: makeImage(join(dir, 'held'), kSize) })
  t.match(await failureOf(migrate({ disks: [{ source: holder.source }], destination: receiver.address })),
    { code: 'BUSY' }, 'a file that somebody holds for writing')
})

t.test('a disk in memory that is not to be had', async (t) => {
  t.match(await failureOf(openTap({ source: { memory: '200TiB' } })), { code: 'NO_MEMORY' })
})

t.test('destinations', async (t) => {
  const dir = temporary(t)
  const image = makeImage(join(dir, 'source'), kSize)
  const before = await hashOf(image)
  mkdirSync(join(dir, 'directory'))
  writeFileSync(join(dir, 'small'), Buffer.alloc(4096))
  await using readOnly = await openTap({ source: makeImage(join(dir, 'readonly'), kSize), readOnly: true })
  await using held = await openTap({ source: makeImage(join(dir, 'held'), kSize), name: 'held' })
  const targets = [
    ['small', join(dir, 'small'), 'TOO_SMALL'],
    ['directory', join(dir, 'directory'), 'IS_DIRECTORY'],
    ['nowhere', join(dir, 'no/such/directory/disk'), 'NOT_FOUND'],
    ['read-only', readOnly, 'READ_ONLY'],
    ['held', held.source, 'BUSY']
  ] as const
  for (const [name, target, code] of targets) {
    await using receiver = await receive({ disks: [{ destination: target, name }] })
    const told: unknown[] = []
    receiver.on('failed', ({ error }) => told.push(error.code))
    await using source = await openTap({ source: image, name })
    const error = await failureOf(migrate({ disks: [{ source }], destination: receiver.address }))
    t.match(error, { code, owner: 'source' }, name)
    t.equal(source.state, 'open', `${name}: the source writes on`)
    await receiver.close()
    t.same(told, [code], `${name}: the receiver is told too`)
  }
  await using receiver = await receive({ disks: [{ destination: join(dir, 'x'), name: 'expected' }] })
  t.match(await failureOf(migrate({ disks: [{ source: image, name: 'other' }], destination: receiver.address })),
    { code: 'NOT_FOUND' }, 'a name that is not expected there')
  t.equal(await hashOf(image), before)
})

t.test('nobody listens', async (t) => {
  await using source = await openTap({ source: { memory: '1MiB' } })
  await using receiver = await receive({ disks: [{ destination: '/nowhere/disk' }] })
  const { address } = receiver
  await receiver.close()
  t.match(await failureOf(migrate({ disks: [{ source }], destination: address })),
    { code: 'UNREACHABLE', owner: 'source', resumable: false })
  t.equal(source.state, 'open')
})

t.test('a source that is cut short while it is sent', async (t) => {
  const dir = temporary(t)
  const image = makeImage(join(dir, 'source'), kSize)
  await using receiver = await receive({ disks: [{ destination: join(dir, 'target') }] })
  await using source = await openTap({ source: image })
  const migration = migrate({
    disks: [{ source }], destination: receiver.address, budgets: { bandwidth: '2MB/s' }
  })
  migration.on('started', () => truncateSync(image, kSize / 2))
  t.match(await failureOf(migration), { code: 'SHORT_READ', owner: 'source', resumable: true })
  t.equal(source.state, 'open')
})

t.test('two migrations of one tap', async (t) => {
  await using source = await openTap({ source: { memory: '4MiB' } })
  await using target = await openTap({ source: { memory: '4MiB' } })
  await using receiver = await receive({ disks: [{ destination: target }] })
  const first = migrate({ disks: [{ source }], destination: receiver.address, switchover: 'manual' })
  await new Promise<void>((resolve) => first.on('ready', () => resolve()))
  t.match(await failureOf(migrate({ disks: [{ source }], destination: receiver.address })), { code: 'BUSY' })
  await t.rejects(source.close(), { code: 'BUSY' }, 'nor can it be closed')
  first.switchover()
  t.equal((await first).equal, true, 'the first is not disturbed')
  t.match(await failureOf(migrate({ disks: [{ source }], destination: receiver.address })),
    { code: 'REFUSED' }, 'what has moved away is not sent again')
})
