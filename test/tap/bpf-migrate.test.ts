// migrate() of a device that a live file system is on: the kernel's tap, attached while it is in
// use.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, copyFileSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'

import type { Test } from 'tap'
import t from 'tap'

import type { BlockferryError, Machine } from '../../lib/index.js'
import { migrate, openTap, receive } from '../../lib/index.js'
import {
  contentOf, differing, emptyDevice, fio, freeze, kNeedsBpf, kNeedsZram, mountedExt4,
  seedOf, thaw, zramDevice
} from '../support/bpf.js'
import { noise, temporary } from '../../testbed/support/images.js'
import { keepStatistics } from '../support/root.js'

const kMiB = 64
const kMoves = 5

/** Writes to files of the file system until it is told to stop: small ones and one in place, synced and
 * not. It stands still while the file system is frozen. */
function busyFiles (t: Test, point: string, seed: number): { end: () => Promise<void> } {
  const child = spawn('fio', [
    '--name=files', '--thread', `--directory=${point}`, '--rw=randwrite',
    '--bsrange=512-64k', '--blockalign=512', '--nrfiles=8', '--size=8m', '--fsync=16', '--time_based', '--runtime=600', `--randseed=${seed}`,
    '--refill_buffers', '--minimal'
  ], { stdio: 'ignore' })
  const ended = once(child, 'exit')
  const end = async () => {
    thaw(point) // else it can't end
    child.kill('SIGKILL')
    await ended
  }
  t.teardown(end)
  return { end }
}

async function destination (t: Test, dir: string) {
  const target = join(dir, 'target.img')
  const receiver = await receive({ disks: [{ destination: target, name: 'web' }] })
  t.teardown(async () => {
    await receiver.close()
    for (const tap of receiver.taps.values()) await tap.close()
  })
  return { target, address: `127.0.0.1:${receiver.address.port}` }
}

/** A file system under load, and where it is to go. */
async function setting (t: Test) {
  const dir = temporary(t)
  const device = emptyDevice(t, dir, kMiB)
  const point = mountedExt4(t, dir, device)
  const seed = seedOf(t)
  const writer = busyFiles(t, point, seed)
  const machine: Machine = { pause: () => freeze(point), resume: () => thaw(point) }
  return { dir, device, point, seed, writer, machine, ...await destination(t, dir) }
}

function checkEqual (t: Test, device: string, target: string): void {
  t.same(differing(contentOf(device), readFileSync(target)), [], 'equal, block by block')
  t.equal(statSync(target).size, kMiB * 2 ** 20)
}

function checkFileSystem (t: Test, dir: string, target: string): void {
  const copy = join(dir, 'checked.img') // e2fsck replays the journal
  copyFileSync(target, copy)
  t.doesNotThrow(() => execFileSync('e2fsck', ['-fy', copy], { stdio: 'ignore' }), 'the copy is clean')
}

const codeOf = async (failing: PromiseLike<unknown>): Promise<string> =>
  await failing.then(() => 'none', (error: BlockferryError) => error.code)

for (const kind of ['bpf', 'auto'] as const) {
  for (let move = 0; move < kMoves; move++) {
    t.test(`an ext4 with a writer moves by ${kind}, ${move}`, { skip: kNeedsBpf }, async (t) => {
      const { dir, device, machine, address, target } = await setting(t)
      const report = await migrate({
        disks: [{ source: device, name: 'web', tap: kind }], destination: address, machine,
        budgets: { downtime: '2s' }
      })
      t.ok(report.dirty.bytes > 0, 'there were writes meanwhile')
      checkEqual(t, device, target)
      checkFileSystem(t, dir, target)
    })
  }
}

t.test('a tap that was opened before', { skip: kNeedsBpf }, async (t) => {
  const { device, machine, address, target } = await setting(t)
  await using source = await openTap({ source: device, name: 'web', tap: 'bpf' })
  await migrate({ disks: [{ source }], destination: address, machine, budgets: { downtime: '2s' } })
  checkEqual(t, device, target)
})

t.test('raw writes to the device, stopped by ending the writer', { skip: kNeedsBpf }, async (t) => {
  const dir = temporary(t)
  const device = emptyDevice(t, dir, kMiB)
  const { address, target } = await destination(t, dir)
  const writing = fio(device, seedOf(t), '--direct=1', '--time_based', '--runtime=2')
  await migrate({
    disks: [{ source: device, name: 'web', tap: 'bpf' }], destination: address,
    machine: { pause: () => writing }, budgets: { downtime: '10s' }
  })
  checkEqual(t, device, target)
})

t.test('a device that takes bios', { skip: kNeedsZram }, async (t) => {
  const dir = temporary(t)
  const device = zramDevice(t, kMiB)
  const { address, target } = await destination(t, dir)
  const writing = fio(device, seedOf(t), '--direct=1', '--time_based', '--runtime=2')
  await migrate({
    disks: [{ source: device, name: 'web', tap: 'bpf' }], destination: address,
    machine: { pause: () => writing }, budgets: { downtime: '10s' }
  })
  checkEqual(t, device, target)
})

t.test('a count that does not balance: the whole disk is compared', { skip: kNeedsBpf }, async (t) => {
  const dir = temporary(t)
  const device = emptyDevice(t, dir, kMiB)
  t.teardown(() => keepStatistics(device, true))
  const { address, target } = await destination(t, dir)
  const seed = seedOf(t)
  await fio(device, seed, '--direct=1', '--size=32m')
  const migration = migrate({
    disks: [{ source: device, name: 'web', tap: 'bpf' }], destination: address,
    machine: { pause: () => {} }, switchover: 'manual'
  })
  const again: string[] = []
  let isMissed = false
  for await (const event of migration) {
    if (event.event === 'reconnecting') again.push(event.error.code)
    if (event.event !== 'ready' || isMissed) continue
    isMissed = true
    keepStatistics(device, false)
    await fio(device, seed + 1, '--direct=1', '--size=1m')
    keepStatistics(device, true)
    // What no event tells of: written below the device.
    const below = openSync(join(dir, 'device.img'), 'r+')
    writeSync(below, noise(seed, 2 ** 20), 0, undefined, 16 * 2 ** 20)
    closeSync(below)
    migration.switchover()
  }
  t.same(again, ['UNACCOUNTED'])
  await migration
  checkEqual(t, device, target)
})

t.test('a pause that does not stop the writers', { skip: kNeedsBpf }, async (t) => {
  const dir = temporary(t)
  const device = emptyDevice(t, dir, kMiB)
  const { address } = await destination(t, dir)
  const migration = migrate({
    disks: [{ source: device, name: 'web', tap: 'bpf' }], destination: address,
    machine: { pause: () => {} }
  })
  migration.on('switchover', ({ step }) => {
    if (step !== 'residual') return
    const block = ['if=/dev/urandom', 'bs=4k', 'count=1', 'oflag=direct', 'status=none']
    execFileSync('dd', [`of=${device}`, ...block])
  })
  t.equal(await codeOf(migration), 'NOT_EQUAL')
})

t.test('without a machine that can be paused', async (t) => {
  const options = { disks: [{ source: '/dev/null', tap: 'bpf' as const }], destination: '127.0.0.1:1' }
  t.equal(await codeOf(migrate(options)), 'INVALID')
  t.equal(await codeOf(migrate({ ...options, machine: { resume: () => {} } })), 'INVALID')
})
