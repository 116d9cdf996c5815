// Another peer that is welcome, and knows a migration's id: it can neither take its place nor end it.
import { join } from 'node:path'

import type { Test } from 'tap'
import t from 'tap'

import type { Receiver } from '../../lib/index.js'
import { receive } from '../../lib/index.js'
import { checkTls, loadTls } from '../../lib/base/tls.js'
import type { NativeTrust } from '../../lib/native/types.js'
import { temporary } from '../../testbed/support/images.js'
import { psk, pskFile } from '../support/keys.js'
import type { RawSource } from '../support/raw-peers.js'
import { rawSource } from '../support/raw-peers.js'

const kMigration = 'the migration of alice'
const offer = {
  type: 'offer',
  migration: kMigration,
  streams: 1,
  equality: true,
  reuse: false,
  machine: null,
  disks: [{ name: 'disk', size: 1 << 20, blockSize: 4096, epoch: 0, places: [] }]
}
const query = { type: 'query', migration: kMigration }

interface Setting {
  open: () => Promise<Receiver>
  alice: NativeTrust
  bob: NativeTrust
}

async function setting (t: Test): Promise<Setting> {
  const dir = temporary(t)
  const keys = pskFile(dir, 'keys.psk', 'alice', 'bob')
  const open = async () => {
    const receiver = await receive({
      disks: [{ destination: join(dir, 'disk'), name: 'disk' }],
      journal: join(dir, 'journal'),
      linkTimeout: '1s',
      tls: psk(keys)
    })
    t.teardown(async () => {
      await receiver.close()
      for (const tap of receiver.taps.values()) await tap.close()
    })
    return receiver
  }
  const keysOf = async (identity: string) => (
    await loadTls(checkTls(psk(keys, identity), 'the destination', '127.0.0.1'), { connects: true }))
  return { open, alice: await keysOf('alice'), bob: await keysOf('bob') }
}

/** Nothing has gone over its stream, and the disk is blank. */
async function commit ({ sender, say, hears }: RawSource): Promise<void> {
  await sender.openStreams(1)
  sender.start()
  sender.mark(1)
  await hears('verified')
  say({ type: 'commit', mark: 1, digests: ['0000000000000000'], run: true })
}

async function refused (t: Test, { address }: Receiver, tls: NativeTrust, message: object): Promise<void> {
  const { sender, say, hears } = await rawSource(t, address, tls)
  say(message)
  t.match(await hears('failed', 'accept', 'outcome'), {
    type: 'failed', code: 'REFUSED', message: 'this migration is another peer\'s'
  })
  await sender.close()
}

t.test('while it is under way', async (t) => {
  const { open, alice, bob } = await setting(t)
  const receiver = await open()
  const failed: unknown[] = []
  receiver.on('failed', ({ migration }) => failed.push(migration))
  const source = await rawSource(t, receiver.address, alice)
  source.say(offer)
  await source.hears('accept')
  await refused(t, receiver, bob, offer)
  await refused(t, receiver, bob, query)
  await commit(source)
  t.match(await source.hears('committed', 'notEqual', 'failed'), { type: 'committed' })
  source.say({ type: 'bye' })
  t.same(failed, [null], 'the refused offer goes by no name')
})

t.test('when it came to nothing', async (t) => {
  const { open, alice, bob } = await setting(t)
  const receiver = await open()
  const failed = new Promise((resolve) => receiver.on('failed', resolve))
  const source = await rawSource(t, receiver.address, alice)
  source.say(offer)
  await source.hears('accept')
  await source.sender.close()
  await failed
  await refused(t, receiver, bob, offer)
  await receiver.close()
  const restarted = await open()
  await refused(t, restarted, bob, offer)
  const again = await rawSource(t, restarted.address, alice)
  again.say(offer)
  t.match(await again.hears('accept', 'failed'), { type: 'accept' }, 'its own peer may')
})
