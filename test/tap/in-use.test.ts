// Disks that another program writes: they are not taken, unless by force.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Test } from 'tap'
import t from 'tap'

import { migrate, openTap, receive } from '../../lib/index.js'
import { run } from '../cli/cli-process.js'
import { qemuIo } from '../cli/disks.js'
import { failedOpen } from '../support/failed-open.js'
import { makeImage, temporary } from '../../testbed/support/images.js'
import { writerOf } from '../support/other-program.js'
import { kNeedsRoot, loopDevice } from '../support/root.js'

const kSize = 4 << 20

/** A QEMU tool that has it open, in words of qemu-io. */
async function qemuOf (t: Test, path: string, ...args: string[]): Promise<void> {
  const child = spawn('qemu-io', ['-f', 'raw', ...args, path], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.stdin.end('quit\n')
    await ended
  })
  child.stdin.write('length\n')
  await once(child.stdout, 'data')
}

t.test('a file that a program has open for writing', async (t) => {
  const source = makeImage(join(temporary(t), 'image'), kSize)
  const writer = await writerOf(t, source)
  const busy = { code: 'BUSY', message: new RegExp(`in use by sh \\(pid ${writer.pid}\\)`) }
  t.match(await failedOpen({ source }), busy)
  t.match(await failedOpen({ source, readOnly: true }), busy)
  const forced = await openTap({ source, force: true })
  t.match(await failedOpen({ source, force: false }), { code: 'BUSY' })
  await forced.close()
  await writer.end()
  await (await openTap({ source })).close()
})

t.test('a file and QEMU', async (t) => {
  const dir = temporary(t)
  const written = makeImage(join(dir, 'written'), kSize)
  await qemuOf(t, written)
  t.match(await failedOpen({ source: written, readOnly: true }), { code: 'BUSY', message: /qemu-io/ })
  await (await openTap({ source: written, readOnly: true, force: true })).close()

  const read = makeImage(join(dir, 'read'), kSize)
  await qemuOf(t, read, '-r')
  t.match(await failedOpen({ source: read }), { code: 'BUSY' }, 'it lets nobody write')
  await using tap = await openTap({ source: read, readOnly: true })
  t.notOk(qemuIo(tap.source, 'write 0 4096'), 'one that writes is kept out')
  t.equal(spawnSync('qemu-io', ['-r', '-f', 'raw', '-c', 'read 0 4096', read]).status, 0, 'one that reads may come')
})

t.test('a file under a loop device', { skip: kNeedsRoot }, async (t) => {
  const source = makeImage(join(temporary(t), 'image'), kSize)
  const device = loopDevice(t, source)
  t.match(await failedOpen({ source, readOnly: true }), { code: 'BUSY', message: new RegExp(`in use by ${device}`) })
  await (await openTap({ source: device })).close()
})

t.test('a device that a program has open for writing', { skip: kNeedsRoot }, async (t) => {
  const source = loopDevice(t, makeImage(join(temporary(t), 'image'), kSize))
  const writer = await writerOf(t, source)
  const busy = { code: 'BUSY', message: new RegExp(`in use by sh \\(pid ${writer.pid}\\)`) }
  t.match(await failedOpen({ source }), busy)
  t.match(await failedOpen({ source, readOnly: true }), busy)
  await (await openTap({ source, force: true })).close()
  await writer.end()
  await (await openTap({ source })).close()
})

t.test('a partition and its disk', { skip: kNeedsRoot }, async (t) => {
  const disk = loopDevice(t, makeImage(join(temporary(t), 'image'), kSize))
  execFileSync('addpart', [disk, '1', '2048', '4096'])
  t.teardown(() => execFileSync('delpart', [disk, '1']))
  const part = `${disk}p1`
  const [major, minor] = readFileSync(`/sys/class/block/${part.slice('/dev/'.length)}/dev`, 'utf8').trim().split(':')
  const node = join(temporary(t), 'part')
  execFileSync('mknod', [node, 'b', major!, minor!])
  const writer = await writerOf(t, node)
  t.match(await failedOpen({ source: disk }), { code: 'BUSY' }, 'somebody writes to a part of it')
  await writer.end()
  const other = await writerOf(t, disk)
  t.match(await failedOpen({ source: node }), { code: 'BUSY' }, 'somebody writes to all of it')
  await other.end()
})

t.test('a device that is mounted', { skip: kNeedsRoot }, async (t) => {
  const dir = temporary(t)
  const source = loopDevice(t, makeImage(join(dir, 'image'), kSize))
  execFileSync('mkfs.ext4', ['-q', '-F', source])
  const point = join(dir, 'mount')
  mkdirSync(point)
  execFileSync('mount', [source, point])
  t.teardown(() => execFileSync('umount', [point]))
  t.match(await failedOpen({ source }), { code: 'BUSY', message: new RegExp(`mounted at ${point}`) })
  await (await openTap({ source, force: true, readOnly: true })).close()
})

t.test('a device that is swapped to', { skip: kNeedsRoot }, async (t) => {
  const source = loopDevice(t, makeImage(join(temporary(t), 'image'), kSize))
  execFileSync('mkswap', [source], { stdio: 'ignore' })
  execFileSync('swapon', [source])
  t.teardown(() => execFileSync('swapoff', [source]))
  t.match(await failedOpen({ source }), { code: 'BUSY', message: /the kernel, which swaps to it/ })
})

t.test('the target of a migration', async (t) => {
  const dir = temporary(t)
  const [source, target] = [makeImage(join(dir, 'a'), kSize), makeImage(join(dir, 'b'), kSize, 2)]
  await writerOf(t, target)
  const move = async (force: boolean) => {
    await using receiver = await receive({ disks: [{ destination: target, force }] })
    await migrate({ disks: [{ source }], destination: receiver.address })
    for (const tap of receiver.taps.values()) await tap.close()
  }
  await t.rejects(move(false), { code: 'BUSY', owner: 'source' })
  await move(true)
  t.ok(readFileSync(source).equals(readFileSync(target)))
})

t.test('the command line', async (t) => {
  const dir = temporary(t)
  const image = makeImage(join(dir, 'image'), kSize)
  await writerOf(t, image)
  await using receiver = await receive({ disks: [{ destination: join(dir, 'target'), name: 'web' }] })
  const send = ['send', '--disk', `web=${image}`, '--to', `127.0.0.1:${receiver.address.port}`]
  const refused = await run(t, ...send)
  t.equal(refused.code, 1)
  t.match(refused.stderr, /^blockferry: BUSY: .* in use by sh/)
  const forced = await run(t, ...send, '--force')
  t.equal(forced.code, 0, forced.stderr)
  for (const tap of receiver.taps.values()) await tap.close()
  const serve = await run(t, 'serve', '--disk', `web=${image}`, '--listen', `unix:${join(dir, 's')}`)
  t.match(serve.stderr, /^blockferry: BUSY: .* in use by sh/)
  const there = await run(t, ...send, '--tap', 'bpf', '--machine', 'qemu:/x', '--force')
  t.match(there, { code: 2, stderr: /--force/ })
})
