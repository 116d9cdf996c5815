// What can't work is said before anything is copied, and the machine runs on untouched.
import { existsSync, mkdirSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Test } from 'tap'
import t from 'tap'

import type { BlockferryError, Machine } from '../../lib/index.js'
import { migrate, qemu, receive } from '../../lib/index.js'
import { missingNeed } from '../../testbed/support/needs.js'
import { makeImage, temporary } from '../../testbed/support/images.js'
import { failureOf } from '../support/unharmed.js'
import { bareQemu, incoming, stateOf } from './bare-qemu.js'
import { afterHandshake, impostor } from './impostor.js'

const skip = (await missingNeed()) ?? false

interface Ends { source?: Machine, destination?: Machine }

interface Refusal { error: BlockferryError, events: string[], target: string }

/** A migration of a small disk between these machines, which must fail. */
async function refusal (
  t: Test, folder: string, { source, destination }: Ends
): Promise<Refusal> {
  const image = makeImage(join(folder, 'source.img'), 1 << 20)
  const target = join(folder, 'target.img')
  const receiver = await receive({
    disks: [{ destination: target }], ...(destination !== undefined && { machine: destination })
  })
  t.teardown(() => receiver.close())
  const migration = migrate({
    disks: [{ source: image }],
    destination: receiver.address,
    ...(source !== undefined && { machine: source })
  })
  const events: string[] = []
  migration.on('started', ({ event }) => events.push(event))
  migration.on('switchover', ({ step }) => events.push(step))
  return { error: await failureOf(migration), events, target }
}

/** Refused by the machine, in these words, and nothing was begun. */
async function checkRefused (
  t: Test, folder: string, ends: Ends, words: RegExp
): Promise<void> {
  const { error, events, target } = await refusal(t, folder, ends)
  t.match(error, { code: 'MACHINE', message: words, owner: 'source', resumable: false })
  t.notMatch(error.message, /undefined|Cannot read|destructure/, 'words for people')
  t.same(events, [], 'nothing was begun')
  t.notOk(existsSync(target), 'nothing was copied')
}

const impostors: Array<[string, (socket: Socket) => void, RegExp]> = [
  ['text', (socket) => { socket.write('HTTP/1.1 400 Bad Request\r\n\r\n') }, /no monitor/],
  ['a number', (socket) => { socket.write('5\n') }, /no monitor/],
  ['silence', () => {}, /no answer/],
  ['noise without an end', (socket) => { socket.write(Buffer.alloc(100_000, 0xa5)) }, /no answer/],
  ['nothing, and closes', (socket) => { socket.end() }, /monitor has closed/],
  ['a handshake, and closes', afterHandshake((socket) => { socket.end() }), /monitor has closed/],
  ['a handshake, and then nonsense', afterHandshake((socket, { id }) => {
    socket.write(JSON.stringify({ return: null, id }) + '\n')
  }), /no monitor/],
  ['a handshake, and then errors', afterHandshake((socket, { id }) => {
    socket.write(JSON.stringify({ error: { class: 'GenericError', desc: 'not today' }, id }) + '\n')
  }), /query-status: not today/]
]

for (const [says, serve, words] of impostors) {
  t.test(`the monitor at the source says ${says}`, async (t) => {
    const folder = temporary(t)
    const { path, left } = await impostor(t, folder, serve)
    await checkRefused(t, folder, { source: qemu({ qmp: path }) }, words)
    const late = sleep(10_000, 'it is still connected', { ref: false })
    t.not(await Promise.race([left, late]), 'it is still connected', 'its monitor is free again')
  })
}

t.test('no monitor at the source', async (t) => {
  const folder = temporary(t)
  const path = join(folder, 'nobody')
  await checkRefused(t, folder, { source: qemu({ qmp: path }) }, /no monitor at .*nobody: .*ENOENT/)
  const closed = { host: '127.0.0.1', port: 1 }
  const again = temporary(t)
  await checkRefused(
    t, again, { source: qemu({ qmp: closed }) }, /no monitor at 127.0.0.1:1: .*REFUSED/)
})

t.test('what the source checks of QEMU', { skip }, async (t) => {
  const folder = temporary(t)
  t.test('it has not begun to run', async (t) => {
    const { qmpSocket, monitor } = await bareQemu(t, folder, '-S')
    await checkRefused(t, temporary(t), { source: qemu({ qmp: qmpSocket }) }, /state is prelaunch/)
    t.equal(await stateOf(monitor), 'prelaunch')
  })
  t.test('it waits for a migration itself', async (t) => {
    const { qmpSocket, monitor } = await bareQemu(t, folder, ...incoming)
    await checkRefused(t, temporary(t), { source: qemu({ qmp: qmpSocket }) }, /state is inmigrate/)
    t.equal(await stateOf(monitor), 'inmigrate')
  })
  t.test('it is migrating already', async (t) => {
    const { qmpSocket, monitor } = await bareQemu(t, folder)
    await monitor.execute('migrate-set-parameters', { 'max-bandwidth': 1000, 'downtime-limit': 0 })
    await monitor.execute('migrate', { uri: 'exec:cat > /dev/null' })
    await checkRefused(
      t, temporary(t), { source: qemu({ qmp: qmpSocket }) }, /another migration of it is going on/)
    t.match(await monitor.execute('query-migrate'), { status: /setup|active/ }, 'which goes on')
    t.equal(await stateOf(monitor), 'running')
  })
  t.test('it has a device that can not move', async (t) => {
    mkdirSync(join(folder, 'fat'))
    const drive = `file=fat:rw:${join(folder, 'fat')},format=raw,if=none,id=fat`
    const { qmpSocket, monitor } = await bareQemu(t, folder, '-drive', drive)
    await checkRefused(
      t, temporary(t), { source: qemu({ qmp: qmpSocket }) }, /can't be moved: .*vvfat/)
    t.equal(await stateOf(monitor), 'running')
  })
})

t.test('what both sides compare', { skip }, async (t) => {
  const folder = temporary(t)
  const { qmpSocket, monitor } = await bareQemu(t, folder)
  const source = () => qemu({ qmp: qmpSocket })

  /** A destination with these options of QEMU's. */
  async function check (t: Test, words: RegExp, ...options: string[]): Promise<void> {
    const there = await bareQemu(t, folder, ...options)
    const before = await stateOf(there.monitor)
    const destination = qemu({ qmp: there.qmpSocket })
    await checkRefused(t, temporary(t), { source: source(), destination }, words)
    t.equal(await stateOf(there.monitor), before, 'the destination is as it was')
    t.equal(await stateOf(monitor), 'running', 'the source runs')
  }

  t.test('a destination that runs', async (t) => {
    await check(t, /not waiting for a machine \(its state is running\).*-incoming defer/)
  })
  t.test('a destination that was not told to wait', async (t) => {
    await check(t, /not waiting for a machine \(its state is prelaunch\)/, '-S')
  })
  t.test('other memory', async (t) => {
    await check(t, /memory sizes differ: 16777216 bytes, and 33554432/, '-m', '32', ...incoming)
  })
  t.test('another machine type', async (t) => {
    await check(t, /machine types differ: pc-.*, and pc-q35/, '-machine', 'q35', ...incoming)
  })
  t.test('no QEMU at the destination', async (t) => {
    const destination = qemu({ qmp: join(folder, 'nobody') })
    await checkRefused(
      t, temporary(t), { source: source(), destination }, /destination: .*no monitor at .*nobody/)
    t.equal(await stateOf(monitor), 'running')
  })
  t.test('no machine waits at the destination', async (t) => {
    await checkRefused(t, temporary(t), { source: source() }, /destination: no machine waits here/)
    t.equal(await stateOf(monitor), 'running')
  })
  t.test('a machine waits, and only a disk comes', async (t) => {
    const there = await bareQemu(t, folder, ...incoming)
    const destination = qemu({ qmp: there.qmpSocket })
    await checkRefused(t, temporary(t), { destination }, /destination: a machine waits here/)
    t.equal(await stateOf(there.monitor), 'inmigrate')
  })
  t.test('a state that the destination does not understand', async (t) => {
    const rich = await bareQemu(t, folder, '-device', 'virtio-rng-pci')
    const there = await bareQemu(t, folder, ...incoming)
    const [source, destination] = [rich, there].map(({ qmpSocket }) => qemu({ qmp: qmpSocket }))
    const { error } = await refusal(t, temporary(t), { source: source!, destination: destination! })
    t.match(error, { code: 'MACHINE', owner: 'source', message: /destination: .*memory failed/ })
    t.equal(await stateOf(rich.monitor), 'running', 'the source runs again')
    await there.ended()
    t.pass("the destination's QEMU has ended")
  })
  t.test('and then one that fits', async (t) => {
    const there = await bareQemu(t, folder, ...incoming)
    const target = join(folder, 'target.img')
    const receiver = await receive({
      disks: [{ destination: target }], machine: qemu({ qmp: there.qmpSocket })
    })
    t.teardown(() => receiver.close())
    const report = await migrate({
      disks: [{ source: makeImage(join(folder, 'source.img'), 1 << 20) }],
      destination: receiver.address,
      machine: source()
    })
    await receiver.done
    t.equal(report.equal, true)
    t.equal(await stateOf(there.monitor), 'running')
    t.equal(await stateOf(monitor), 'postmigrate')
  })
})
