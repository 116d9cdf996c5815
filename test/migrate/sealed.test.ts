// What was compared is what is committed: whatever the source still sends, and whoever else writes to
// the destination's disk.
import { execFileSync } from 'node:child_process'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import t from 'tap'

import { migrate, openTap, receive } from '../../lib/index.js'
import { FrameProxy, message } from '../support/frame-proxy.js'
import { hashOf, temporary } from '../../testbed/support/images.js'
import { makePair } from '../support/pair.js'
import { rawSource } from '../support/raw-peers.js'
import { checkUnharmed, failureOf } from '../support/unharmed.js'
import { Writer } from '../../testbed/support/writer.js'

const kSize = 1 << 20

t.test('what a source sends behind its commit does not reach the disk', async (t) => {
  const dir = temporary(t)
  const [image, target] = [join(dir, 'source'), join(dir, 'target')]
  writeFileSync(image, '')
  truncateSync(image, kSize)
  await using receiver = await receive({ disks: [{ destination: target, name: 'disk' }], linkTimeout: '1s' })
  await using source = await openTap({ source: image })
  source.track(4096)
  const { sender, say, hears, ended } = await rawSource(t, receiver.address)
  const disks = [{ name: 'disk', size: kSize, blockSize: 4096, epoch: 0, places: [] }]
  say({ type: 'offer', migration: 'm', streams: 1, equality: true, reuse: false, machine: null, disks })
  await hears('accept')
  sender.addDisk(source.native, { separate: true })
  await sender.openStreams(1)
  sender.start()
  sender.finish(1)
  await hears('verified')
  say({ type: 'commit', mark: 1, digests: [sender.digest(0)], run: true })
  await hears('committed')
  writeFileSync(image, Buffer.alloc(kSize, 'x'))
  sender.markAgain(0, 0, 256)
  sender.unfinish()
  let isOver = false
  void ended.then(() => { isOver = true })
  const isUntouched = () => readFileSync(target).every((byte) => byte === 0)
  while (!isOver && isUntouched()) await sleep(5)
  t.ok(isUntouched())
  await sender.close()
  await receiver.close()
  await receiver.taps.get('disk')!.close()
})

t.test('written by another program between its verification and the commit: not equal', async (t) => {
  const pair = await makePair(t)
  const proxy = await FrameProxy.to(pair.receiver.address)
  t.teardown(() => proxy.close())
  const writer = await Writer.start(pair.socket, 'web', 1000)
  let isLast = false
  let tell = () => {}
  const verified = new Promise<void>((resolve) => { tell = resolve })
  const commit = proxy.hold(message('commit'))
  proxy.onFrame((frame) => {
    if (isLast && message('verified')(frame)) tell()
  })
  const migration = migrate({
    disks: [{ source: pair.source }], destination: proxy.address, machine: { pause: () => { isLast = true } }
  })
  const failure = failureOf(migration)
  await commit.held
  await verified
  t.equal(await hashOf(pair.target), await hashOf(pair.image), 'they were equal')
  execFileSync('dd', [`of=${pair.target}`, 'bs=4096', 'seek=1300', 'count=1', 'conv=notrunc', 'if=/dev/urandom', 'status=none'])
  const told: string[] = []
  pair.receiver.on('failed', ({ error }) => told.push(error.code))
  commit.release()
  const error = await failure
  t.match(error, { code: 'NOT_EQUAL', owner: 'source', resumable: true })
  t.match(error.message, /another program has written to .*target\.img at the destination/)
  t.equal(pair.receiver.taps.size, 0)
  await checkUnharmed(t, pair, writer)
  t.same(told, ['NOT_EQUAL'])
})
