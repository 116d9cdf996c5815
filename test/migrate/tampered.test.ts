// Another process writes into the destination's file behind the receiver's back, between a
// block's arrival and its verification: what is wrong is sent again, and nothing commits that is
// not equal.
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Test } from 'tap'
import t from 'tap'

import { migrate } from '../../lib/index.js'
import type { MigrateOptions, Migration } from '../../lib/index.js'
import { NbdClient } from '../../lib/nbd/client.js'
import type { Frame } from '../support/frame-proxy.js'
import { FrameProxy } from '../support/frame-proxy.js'
import { hashOf, noise } from '../../testbed/support/images.js'
import type { Pair } from '../support/pair.js'
import { makePair } from '../support/pair.js'
import { failureOf, reach, writesOn } from '../support/unharmed.js'
import { Writer } from '../../testbed/support/writer.js'

const kBlock = 4096
/** Out of the writer's reach. */
const kAt = 5 << 20

/** The block as it is in a file now. */
function blockOf (path: string): Buffer {
  const bytes = Buffer.alloc(kBlock)
  const fd = openSync(path, 'r')
  readSync(fd, bytes, 0, kBlock, kAt)
  closeSync(fd)
  return bytes
}

/** In a process of its own: the block's bytes, turned round. */
function tamper (path: string): void {
  const found = blockOf(path)
  execFileSync('dd', [
    `of=${path}`, `bs=${kBlock}`, `seek=${kAt / kBlock}`, 'conv=notrunc', 'status=none'
  ], { input: found.reverse() })
}

interface Tampered {
  pair: Pair
  writer: Writer
  /** Writes other bytes into the block, through the tap. */
  rewrite: () => Promise<void>
  options: MigrateOptions
  /** How often the block is tampered with from now on, each time that it has arrived. */
  harm: (times: number) => void
  /** How often it was. */
  harmed: () => number
}

/** With one stream everything is in order: a mark verifies what was sent before it. */
async function start (t: Test): Promise<Tampered> {
  const pair = await makePair(t)
  const proxy = await FrameProxy.to(pair.receiver.address)
  t.teardown(() => proxy.close())
  const writer = await Writer.start(pair.socket, 'web', 1000, 1)
  const client = await NbdClient.open({ path: pair.socket, exportName: 'web' })
  t.teardown(() => client.disconnect())
  let content: Buffer = Buffer.alloc(0)
  let [version, left, harmed] = [100, 0, 0]
  let isSent = false
  proxy.onFrame(async ({ type, offset, length }: Frame) => {
    if (type === 'data' && offset <= kAt && kAt < offset + length) isSent = true
    if (type !== 'mark' || !isSent) return
    isSent = false
    if (left === 0) return
    while (!blockOf(pair.target).equals(content)) await sleep(2)
    tamper(pair.target)
    left--
    harmed++
  })
  return {
    pair,
    writer,
    rewrite: async () => {
      content = noise(version++, kBlock)
      await client.write(kAt, content)
    },
    options: {
      disks: [{ source: pair.source }],
      destination: proxy.address,
      streams: 1,
      compression: 'off',
      switchover: 'manual'
    },
    harm: (times) => {
      isSent = false
      left = times
    },
    harmed: () => harmed
  }
}

/** Ready, and the block has arrived. */
async function untilReady (migration: Migration, { pair }: Tampered): Promise<void> {
  await reach(migration, 'ready')
  while (!blockOf(pair.target).equals(blockOf(pair.image))) await sleep(2)
}

async function checkEqual (t: Test, { pair, writer }: Tampered): Promise<void> {
  t.equal(pair.source.state, 'refusing')
  await writer.stop()
  t.match(writer.error, { code: 'EPERM' })
  t.same(writer.lostIn(pair.target), [])
  t.equal(await hashOf(pair.target), await hashOf(pair.image), 'whole images are equal')
}

t.test('in the rounds: it is sent again', async (t) => {
  const tampered = await start(t)
  const migration = migrate(tampered.options)
  await untilReady(migration, tampered)
  tampered.harm(3)
  await tampered.rewrite()
  while (tampered.harmed() < 3) await sleep(5)
  t.pass('it was sent again, and tampered with again')
  migration.switchover()
  t.equal((await migration).equal, true)
  await checkEqual(t, tampered)
})

t.test('in the switchover, once: it is sent again within the pause', async (t) => {
  const tampered = await start(t)
  const migration = migrate({
    ...tampered.options,
    budgets: { downtime: '2s' },
    machine: {
      pause: async () => {
        tampered.harm(1)
        await tampered.rewrite()
      }
    }
  })
  await untilReady(migration, tampered)
  const steps: string[] = []
  migration.on('switchover', ({ step }) => { steps.push(step) })
  migration.switchover()
  t.equal((await migration).equal, true)
  t.equal(tampered.harmed(), 1)
  t.same(steps, ['pause', 'residual', 'commit', 'residual', 'commit'])
  await checkEqual(t, tampered)
})

t.test('in the switchover, whatever is sent: it fails, the source goes on', async (t) => {
  const tampered = await start(t)
  const { pair, writer } = tampered
  const told: string[] = []
  pair.receiver.on('failed', ({ error }) => told.push(error.code))
  pair.receiver.on('committed', () => told.push('committed'))
  const resumed: string[] = []
  const migration = migrate({
    ...tampered.options,
    budgets: { downtime: '2s' },
    machine: {
      pause: async () => {
        tampered.harm(Infinity)
        await tampered.rewrite()
      },
      resume: () => { resumed.push('resumed') }
    }
  })
  await untilReady(migration, tampered)
  migration.switchover()
  t.match(await failureOf(migration), { code: 'NOT_EQUAL', owner: 'source', resumable: true })
  t.equal(tampered.harmed(), 2, 'after the second try')
  t.same(resumed, ['resumed'])
  t.equal(pair.source.state, 'open')
  await writesOn(t, writer)
  tampered.harm(0)
  t.equal((await migrate({ ...tampered.options, switchover: 'auto' })).equal, true)
  t.same(told, ['PEER_GONE', 'committed'])
  await checkEqual(t, tampered)
})
