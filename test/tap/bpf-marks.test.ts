// What a bpf tap marks, whoever writes and however: no block changes that is not marked.
import { execFileSync } from 'node:child_process'
import { cpSync, readFileSync } from 'node:fs'

import type { Test } from 'tap'
import t from 'tap'

import type { Tap } from '../../lib/index.js'
import { openTap } from '../../lib/index.js'
import {
  contentOf, differing, emptyDevice, fio, freeze, kBlock, kNeedsBpf, kNeedsZram, mountedExt4, outrunner,
  seedOf, zramDevice
} from '../support/bpf.js'
import { temporary } from '../../testbed/support/images.js'

const kMiB = 32

function marked (tap: Tap): Set<number> {
  const blocks = new Set<number>()
  for (const { offset, length } of tap.round()) {
    for (let at = offset; at < offset + length; at += kBlock) blocks.add(at / kBlock)
  }
  return blocks
}

/** Marks while `write` runs on the device, of which the tap is `watched`. */
async function check (
  t: Test, device: string, write: () => Promise<void> | void, watched = device
): Promise<void> {
  await using tap = await openTap({ source: watched, tap: 'bpf' })
  const before = contentOf(watched)
  tap.track()
  await write()
  await tap.quiesce()
  const blocks = marked(tap)
  const changed = differing(before, contentOf(watched))
  t.ok(changed.length > 0, 'something was written')
  t.same(changed.filter((block) => !blocks.has(block)), [], 'every changed block is marked')
  t.comment(`${changed.length} changed, ${blocks.size} marked`)
}

const dd = (device: string, ...args: string[]) => {
  execFileSync('dd', ['if=/dev/urandom', `of=${device}`, 'conv=notrunc', 'status=none', ...args])
}

const kWriters: Record<string, (device: string, seed: number) => Promise<void> | void> = {
  'direct writes': (device, seed) => fio(device, seed, '--direct=1', '--size=16m'),
  'buffered writes': (device, seed) => fio(device, seed, '--direct=0', '--size=16m'),
  'writes of many sizes': (device, seed) =>
    fio(device, seed, '--direct=1', '--bsrange=512-256k', '--blockalign=512', '--size=16m'),
  'writes that cross blocks': (device) => dd(device, 'bs=3000', 'seek=77', 'count=999'),
  'zeroes of the device\'s own': (device, seed) => {
    dd(device, 'bs=1M', 'count=16')
    execFileSync('blkdiscard', ['--zeroout', '--offset=1048576', '--length=3145728', device])
    return fio(device, seed, '--direct=1', '--size=1m')
  }
}

for (const [what, write] of Object.entries(kWriters)) {
  t.test(what, { skip: kNeedsBpf }, async (t) => {
    const device = emptyDevice(t, temporary(t), kMiB)
    const seed = seedOf(t)
    await check(t, device, () => write(device, seed))
  })
}

t.test('discards', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), kMiB)
  dd(device, 'bs=1M', `count=${kMiB}`, 'oflag=direct')
  await check(t, device, () => {
    execFileSync('blkdiscard', ['--offset', '1048576', '--length', '9437184', device])
  })
})

t.test('an ext4 in use', { skip: kNeedsBpf }, async (t) => {
  const dir = temporary(t)
  const device = emptyDevice(t, dir, kMiB)
  const point = mountedExt4(t, dir, device)
  await check(t, device, () => {
    cpSync('lib', `${point}/lib`, { recursive: true })
    freeze(point)
  })
})

t.test('a file system that is made', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), kMiB)
  await check(t, device, () => { execFileSync('mkfs.ext4', ['-q', '-F', device]) })
})

t.test('a partition', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), kMiB)
  const [start, sectors] = [2048 + 3, 16384 + 5]
  execFileSync('addpart', [device, '1', String(start), String(sectors)])
  t.teardown(() => execFileSync('delpart', [device, '1']))
  const part = `${device}p1`
  const seed = seedOf(t)
  await t.test('written as a partition', async (t) => {
    await check(t, part, () => fio(part, seed, '--direct=1', '--size=4m', '--bs=2k'))
  })
  await t.test('written as a part of the disk', async (t) => {
    const around = ['--direct=1', '--size=10m', '--bs=2k']
    await check(t, device, () => fio(device, seed, ...around), part)
  })
  await t.test('and the disk around it', (t) => check(t, part, () => fio(part, seed, '--size=2m'), device))
})

for (const direct of [0, 1]) {
  const how = direct === 1 ? 'direct' : 'buffered'
  t.test(`a device that takes bios, ${how}`, { skip: kNeedsZram }, async (t) => {
    const device = zramDevice(t, kMiB)
    const seed = seedOf(t)
    await check(t, device, () => fio(device, seed, `--direct=${direct}`, '--size=16m', '--bsrange=4k-64k'))
  })
}

t.test('nothing is written', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), kMiB)
  await using tap = await openTap({ source: device, tap: 'bpf' })
  tap.track()
  await tap.quiesce()
  t.equal(tap.dirtyBytes, 0)
})

t.test('a device that is never idle', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), kMiB)
  const depth = () => readFileSync(`/sys/block/${device.slice('/dev/'.length)}/queue/nr_requests`, 'utf8')
  const before = depth()
  const { pause } = outrunner(t, device)
  await using tap = await openTap({ source: device, tap: 'bpf' })
  t.equal(depth(), before)
  tap.track()
  await pause()
  await t.resolves(tap.quiesce(), 'it has seen every write')
})
