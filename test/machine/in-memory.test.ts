// Memory and a disk move together, with a machine that is no more than memory: what the engine does
// beside a hypervisor, quickly and without one.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import t from 'tap'
import type { Test } from 'tap'

import type { MigrateOptions, Receiver, TlsOptions } from '../../lib/index.js'
import { Journal, migrate, receive } from '../../lib/index.js'
import { InMemoryMachine } from '../../lib/machine/in-memory.js'
import { DestinationMachine } from '../../lib/destination/machine.js'
import { hashOf, noise, temporary } from '../../testbed/support/images.js'
import { FrameProxy } from '../support/frame-proxy.js'
import { psk, pskFile } from '../support/keys.js'
import type { Pair } from '../support/pair.js'
import { makePair } from '../support/pair.js'
import { failureOf } from '../support/unharmed.js'
import { Writer } from '../../testbed/support/writer.js'

const kSize = 8 << 20
const kPages = kSize / 4096
/** What the first move still closes is not to count as what it keeps. */
const kLetGoMs = 1000

interface Move extends Pair { from: InMemoryMachine, to: InMemoryMachine, machineReceiver: Receiver }

/** A pair whose destination waits for a machine, too. */
async function makeMove (
  t: Test, to = new InMemoryMachine(kSize, { running: false }), tls: TlsOptions | false = false
): Promise<Move> {
  const pair = await makePair(t, 4 << 20)
  const machineReceiver = await receive({
    disks: [{ destination: pair.target, name: 'web' }], machine: to, tls
  })
  t.teardown(async () => {
    await machineReceiver.close()
    for (const tap of machineReceiver.taps.values()) await tap.close()
  })
  const from = new InMemoryMachine(kSize)
  for (let page = 0; page < kPages; page += 3) from.write(page, noise(page, 4096))
  return { ...pair, from, to, machineReceiver }
}

function start (move: Move, options: Partial<MigrateOptions> = {}) {
  return migrate({
    disks: [{ source: move.source }], destination: move.machineReceiver.address, machine: move.from, ...options
  })
}

/** Writes to the machine's memory and counts, until it no longer runs. */
async function dirty (machine: InMemoryMachine, everyMs: number): Promise<number> {
  let writes = 0
  while (machine.write((writes * 7919) % kPages, noise(writes, 4096))) {
    writes++
    await sleep(everyMs)
  }
  return writes
}

t.test('memory and disk arrive equal over TLS', async (t) => {
  const tls = psk(pskFile(temporary(t), 'keys.psk', 'alice'))
  const move = await makeMove(t, undefined, tls)
  const dirtied = dirty(move.from, 2)
  const report = await start(move, { tls })
  t.ok(await dirtied > 0)
  t.equal(report.equal, true)
  t.ok(move.from.memory.equals(move.to.memory), 'all of the memory')
})

for (const compression of ['on', 'off', 'auto'] as const) {
  t.test(`memory and disk arrive equal, compression ${compression}`, async (t) => {
    const move = await makeMove(t)
    const writer = await Writer.start(move.socket, 'web', 1000)
    const dirtied = dirty(move.from, 2)
    const report = await start(move, { compression })
    await writer.stop()
    t.ok(await dirtied > 0)
    t.equal(report.equal, true)
    t.ok(move.from.memory.equals(move.to.memory), 'all of the memory')
    t.notOk(move.from.runs)
    await move.machineReceiver.done
    t.ok(move.to.runs)
    t.same(writer.lostIn(move.target), [])
    t.equal(await hashOf(move.target), await hashOf(move.image))
  })
}

t.test('a machine that its user stopped stays so', async (t) => {
  const move = await makeMove(t)
  move.from.stop()
  await start(move)
  await move.machineReceiver.done
  t.notOk(move.to.runs)
  t.ok(move.from.memory.equals(move.to.memory))
})

t.test('machines that do not match, or are missing, are refused before anything is copied', async (t) => {
  const move = await makeMove(t, new InMemoryMachine(2 * kSize, { running: false }))
  const unequal = await failureOf(start(move))
  t.match(unequal, { code: 'MACHINE', owner: 'source', message: /memory sizes differ/ })
  const none = await failureOf(start(move, { destination: move.receiver.address }))
  t.match(none, { code: 'MACHINE', owner: 'source', message: /no machine waits/ })
  const only = await failureOf(migrate({
    disks: [{ source: move.source }], destination: move.machineReceiver.address
  }))
  t.match(only, { code: 'MACHINE', owner: 'source', message: /only disks are offered/ })
  t.ok(move.from.runs)
  t.equal(move.source.state, 'open')
})

t.test('aborted while memory is sent: the machine runs on, and can move later', async (t) => {
  const move = await makeMove(t)
  const controller = new AbortController()
  const migration = start(move, { signal: controller.signal, compression: 'off' })
  migration.setLimits({ bandwidth: '2MB/s' })
  migration.on('memory', () => controller.abort())
  const error = await failureOf(migration)
  t.match(error, { code: 'CANCELLED', owner: 'source' })
  t.ok(move.from.runs)
  t.equal(move.source.state, 'open')
  await start(move)
  await move.machineReceiver.done
  t.ok(move.to.runs)
  t.ok(move.from.memory.equals(move.to.memory))
})

/** One that arrives, and one that breaks off in the middle of its memory. */
async function moveTwice (t: Test): Promise<void> {
  const move = await makeMove(t)
  const controller = new AbortController()
  const migration = start(move, { signal: controller.signal, compression: 'off' })
  migration.setLimits({ bandwidth: '2MB/s' })
  migration.on('memory', () => controller.abort())
  t.match(await failureOf(migration), { code: 'CANCELLED' })
  await start(move)
  await move.machineReceiver.done
  t.ok(move.from.memory.equals(move.to.memory))
}

t.test('moves leave no descriptors and no threads', async (t) => {
  const used = (what: 'fd' | 'task') => readdirSync(`/proc/self/${what}`).length
  await t.test('the first move', moveTwice)
  await sleep(kLetGoMs)
  const first = { fd: used('fd'), task: used('task') }
  for (let i = 2; i <= 5; i++) await t.test(`move ${i}`, moveTwice)
  for (const what of ['fd', 'task'] as const) {
    for (let waited = 0; used(what) > first[what] && waited < 10_000; waited += 50) await sleep(50)
    t.ok(used(what) <= first[what], `in /proc/self/${what}: ${first[what]}, then ${used(what)}`)
  }
})

t.test('the migration ends just when the memory is announced', async (t) => {
  const folder = temporary(t)
  const before = process.env['TMPDIR']
  process.env['TMPDIR'] = folder // where the socket is made
  const machine = new InMemoryMachine(kSize, { running: false })
  let listens = false
  machine.receiveMemory = async () => { listens = true }
  machine.untilArrived = async () => {}
  const target = new DestinationMachine(machine, () => {})
  await target.expect(await new InMemoryMachine(kSize).prepare())
  const received = target.receive(() => {})
  if (before === undefined) delete process.env['TMPDIR']
  else process.env['TMPDIR'] = before
  const failure = failureOf(received)
  await target.close(true)
  t.match(await failure, { code: 'CLOSED' })
  t.notOk(listens, 'the machine is left alone')
  t.same(readdirSync(folder), [], 'no socket is left')
})

t.test('paused, and a checkpoint that is never verified: taken back, and nothing is left that nobody waits for', async (t) => {
  const move = await makeMove(t)
  const proxy = await FrameProxy.to(move.machineReceiver.address)
  t.teardown(() => proxy.close())
  let isSending = false
  const last = proxy.hold(({ from, text }) => isSending && from === 'destination' && text === 'verified')
  const migration = migrate({
    disks: [{ source: move.source }],
    destination: proxy.address,
    machine: move.from,
    compression: 'off',
    budgets: { bandwidth: '2MB/s', downtime: '300ms' }
  })
  migration.on('memory', () => { isSending = true })
  await t.rejects(migration, { code: 'TIMEOUT', owner: 'source', message: /a checkpoint took too long/ })
  await last.held
  last.release()
  t.ok(move.from.runs)
  t.equal(move.source.state, 'open')
})

for (const way of ['throws', 'rejects', 'answers nothing'] as const) {
  t.test(`a machine at the destination that can't be let go of, its discard ${way}: all else is taken back`, async (t) => {
    class Stuck extends InMemoryMachine {
      discard (): Promise<void> {
        if (way === 'throws') throw new Error('made up')
        return (way === 'rejects' ? Promise.reject(new Error('made up')) : undefined) as Promise<void>
      }

      override async close (): Promise<void> {
        throw new Error('made up')
      }
    }
    const move = await makeMove(t, new Stuck(kSize, { running: false }))
    const calls: string[] = []
    const journal = await Journal.open(join(move.dir, 'journal'))
    t.teardown(() => journal.close())
    const receiver = await receive({
      disks: [{ destination: move.target, name: 'web' }],
      machine: move.to,
      journal,
      network: { prepare: () => {}, switchOver: () => {}, undo: () => { calls.push('undo') } }
    })
    const failed = new Promise<string>((resolve) => receiver.on('failed', ({ error }) => resolve(error.code)))
    const migration = migrate({
      disks: [{ source: move.source }], destination: receiver.address, machine: move.from, switchover: 'manual'
    })
    migration.on('started', () => { migration.cancel() })
    await t.rejects(migration, { code: 'CANCELLED' })
    t.equal(await failed, 'CANCELLED')
    t.same(calls, ['undo'])
    t.equal(journal.recordOf(migration.id)?.state, 'refused')
    await receiver.close()
  })
}

t.test('the link breaks when the destination is to decide, and the memory says so first: the source hears the no', async (t) => {
  const broken = new Error('it came to an end')
  let fail!: (error: Error) => void
  class Hasty extends InMemoryMachine {
    override async untilArrived (): Promise<void> {
      await new Promise((_resolve, reject) => { fail = reject })
    }
  }
  const move = await makeMove(t, new Hasty(kSize, { running: false }))
  const proxy = await FrameProxy.to(move.machineReceiver.address)
  t.teardown(() => proxy.close())
  const failed = new Promise<void>((resolve) => move.machineReceiver.on('failed', () => resolve()))
  const commit = proxy.hold(({ text }) => text === 'commit')
  const migration = migrate({
    disks: [{ source: move.source }], destination: proxy.address, machine: move.from, linkTimeout: '2s', reconnect: 0
  })
  const result = failureOf(migration)
  await commit.held
  proxy.cut()
  fail(broken)
  await failed
  const closed = move.machineReceiver.close({ waitForLost: true })
  proxy.restore()
  t.match(await result, { owner: 'source' })
  await closed
})

t.test('a second migration by mistake leaves the machine of the first alone', async (t) => {
  const move = await makeMove(t)
  const first = start(move, { budgets: { bandwidth: '4MB/s' } })
  await new Promise<void>((resolve) => first.on('memory', () => resolve()))
  t.match(await failureOf(start(move)), { code: 'BUSY' })
  t.equal((await first).equal, true)
  t.ok(move.from.memory.equals(move.to.memory))
})
