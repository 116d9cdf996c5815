// What a migration asks of the network at its two sites, and what becomes of it when a call or the
// migration fails.
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'

import type { Network, Receiver } from '../../lib/index.js'
import { migrate, receive } from '../../lib/index.js'
import { FrameProxy } from '../support/frame-proxy.js'
import { makeImage, temporary } from '../../testbed/support/images.js'
import { failureOf } from '../support/unharmed.js'

type Calls = string[]

/** Hooks that note who called them; one may fail. */
function network (calls: Calls, site: string, fails?: string): Network {
  const call = (method: string) => async () => {
    calls.push(`${site}.${method}`)
    if (fails === method) throw new Error('no way')
  }
  return {
    prepare: call('prepare'),
    verify: call('verify'),
    switchOver: call('switchOver'),
    undo: call('undo')
  }
}

interface Setting { calls: Calls, receiver: Receiver, source: string }

async function setting (t: Test, fails?: string): Promise<Setting> {
  const dir = temporary(t)
  const calls: Calls = []
  const source = makeImage(join(dir, 'source.img'), 1 << 20)
  const receiver = await receive({
    disks: [{ destination: join(dir, 'target.img') }], network: network(calls, 'new', fails)
  })
  t.teardown(async () => {
    await receiver.close()
    for (const tap of receiver.taps.values()) await tap.close()
  })
  return { calls, receiver, source }
}

t.test('a migration that goes well', async (t) => {
  const { calls, receiver, source } = await setting(t)
  await migrate({
    disks: [{ source }], destination: receiver.address, network: network(calls, 'old')
  })
  await receiver.done
  t.same(calls.slice(0, 3), ['old.prepare', 'new.prepare', 'old.verify'])
  t.same(calls.slice(3).sort(), ['new.switchOver', 'old.switchOver'])
})

const kRefusals: Array<[site: 'old' | 'new', method: string, calls: string[]]> = [
  ['old', 'prepare', ['old.prepare']],
  ['new', 'prepare', ['old.prepare', 'new.prepare', 'old.undo']],
  ['old', 'verify', ['old.prepare', 'new.prepare', 'old.verify', 'old.undo', 'new.undo']]
]

for (const [site, method, expected] of kRefusals) {
  t.test(`${site} site: ${method}() fails`, async (t) => {
    const { calls, receiver, source } = await setting(t, site === 'new' ? method : undefined)
    const migration = migrate({
      disks: [{ source }],
      destination: receiver.address,
      network: network(calls, 'old', site === 'old' ? method : undefined)
    })
    t.match(await failureOf(migration), { code: 'NETWORK', message: /no way/, owner: 'source' })
    await receiver.close()
    t.same(calls.toSorted(), expected.toSorted())
  })
}

t.test('a cancelled migration undoes it at both sites', async (t) => {
  const { calls, receiver, source } = await setting(t)
  const migration = migrate({
    disks: [{ source }],
    destination: receiver.address,
    switchover: 'manual',
    network: network(calls, 'old')
  })
  migration.on('ready', () => migration.cancel())
  t.match(await failureOf(migration), { code: 'CANCELLED', owner: 'source' })
  await receiver.close()
  t.same(calls.slice(3).sort(), ['new.undo', 'old.undo'])
})

t.test('a link that is lost: the old site stays prepared, the new one prepares again', async (t) => {
  const { calls, receiver, source } = await setting(t)
  const proxy = await FrameProxy.to(receiver.address)
  t.teardown(() => proxy.close())
  const migration = migrate({
    disks: [{ source }],
    destination: proxy.address,
    switchover: 'manual',
    network: network(calls, 'old')
  })
  let losses = 0
  migration.on('ready', () => {
    if (losses++ < 2) proxy.cut()
    else migration.switchover()
  })
  migration.on('reconnecting', () => proxy.restore())
  await migration
  await receiver.done
  t.same(calls.filter((call) => call.startsWith('old')), [
    'old.prepare', 'old.verify', 'old.verify', 'old.verify', 'old.switchOver'
  ])
  t.same(calls.filter((call) => call.startsWith('new')), [
    'new.prepare', 'new.undo', 'new.prepare', 'new.undo', 'new.prepare', 'new.switchOver'
  ])
})

t.test('old site: switchOver() fails when the destination owns the disks', async (t) => {
  const { calls, receiver, source } = await setting(t)
  const migration = migrate({
    disks: [{ source }], destination: receiver.address, network: network(calls, 'old', 'switchOver')
  })
  t.match(await failureOf(migration), { code: 'NETWORK', owner: 'destination' })
  await receiver.done
  t.notOk(calls.includes('old.undo') || calls.includes('new.undo'))
})

t.test('new site: switchOver() fails, the migration is done all the same', async (t) => {
  const { calls, receiver, source } = await setting(t, 'switchOver')
  const failed = new Promise((resolve) => receiver.on('failed', ({ error }) => resolve(error)))
  await migrate({
    disks: [{ source }], destination: receiver.address, network: network(calls, 'old')
  })
  t.match(await failed, { code: 'NETWORK', owner: 'destination' })
  await receiver.done
  t.equal(receiver.taps.size, 1)
})

t.test('nonsense', async (t) => {
  t.match(await failureOf(migrate({
    disks: [{ source: '/nowhere' }], destination: '127.0.0.1:1', network: {} as Network
  })), { code: 'INVALID', message: /network/ })
})
