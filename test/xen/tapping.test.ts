// A guest of Xen whose disks are served by the kernel's own blkback: they are tapped below it, move
// while its writers write, and its writers are slowed. One host, one boot; the programs run in dom0.

import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { missingNeed } from '../../testbed/support/needs.js'
import { kNeedsBpf } from '../support/bpf.js'
import { kNeedsDm } from '../support/dm.js'
import { noise } from '../../testbed/support/images.js'
import { XenGuest } from '../../testbed/xen/guest.js'
import { XenHost } from '../../testbed/xen/xen-host.js'
import { lostWrites } from '../../testbed/xen/writes.js'

const kMiB = 2 ** 20
const kWebMiB = 16
const kWeb = '/dev/mapper/web'
/** A device of the target 'delay' below the disk, which takes no time until it is told to. */
const kSlow = '/dev/mapper/slow'
const kFile = '/run/second.img'

async function disksOf (host: XenHost): Promise<string[]> {
  const disk = openSync(host.disk(), 'r+')
  writeSync(disk, noise(1, kWebMiB * kMiB))
  closeSync(disk)
  const sectors = kWebMiB * 2048
  await host.must(`
    dmsetup --noudevsync create slow --table '0 ${sectors} delay /dev/vda 0 0 /dev/vda 0 0' && dmsetup mknodes &&
    dmsetup --noudevsync create web --table '0 ${sectors} linear ${kSlow} 0' && dmsetup mknodes &&
    dd if=${kWeb} of=${kFile} bs=1M count=8 status=none`)
  return [`phy:${kWeb}`, `file:${kFile}`]
}

const skip = kNeedsBpf || kNeedsDm || (await missingNeed() ?? false)
t.test('a guest of Xen', { skip }, async (t) => {
  const host = await XenHost.boot()
  t.teardown(() => host.close())
  const disks = await disksOf(host)
  const guest = await XenGuest.create(host, { disks, pauseMicros: 10_000, spanBlocks: 1024 })
  const loop = (await host.must(`losetup --noheadings --output NAME --associated ${kFile}`)).trim()
  t.match(loop, /^\/dev\/loop/, 'xl serves a file by a loop device')

  /** Where it fails, its output and the guest's console are told. */
  const passes = async (what: string, name: string, ...args: string[]) => {
    const began = performance.now()
    const { code, output } = await host.run(host.program(`test/xen/programs/${name}`, ...args))
    t.comment(`${name} ${args.join(' ')}, ${Math.round((performance.now() - began) / 1000)} s: ${output}`)
    const because = code === 0 ? {} : { output, guest: await guest.says(host) }
    t.equal(code, 0, what, because)
  }
  for (const kind of ['dm', 'bpf'] as const) {
    await passes(`a ${kind} tap reports all that changes, discards too`, 'marks', kind, kWeb)
    await passes(`a ${kind} tap waits for what blkback has in flight`, 'drain', kind, kWeb, kSlow)
    await passes(`a ${kind} tap slows the guest's writers`, 'throttle', kind, kWeb)
  }
  await passes('a bpf tap on a file reports all', 'marks', 'bpf', loop)
  await host.must('mkdir /run/dm /run/bpf /run/both')
  await passes('the disk moves by dm', 'moves', 'dm', '/run/dm', kWeb)
  await passes('the disk moves by bpf', 'moves', 'bpf', '/run/bpf', kWeb)
  await passes('two disks move together', 'moves', 'dm', '/run/both', kWeb, loop)

  await guest.stopWriters(host)
  const writes = await guest.writes(host)
  for (const [index, path] of ['/run/both/web-by-dm.img', kFile].entries()) {
    await host.must(`cp ${path} /shared/disk`)
    const disk = readFileSync(join(host.folder, 'disk'))
    const lost = writes[index]!.flatMap((each) => lostWrites(disk, each))
    t.comment(`${path}: ${writes[index]!.map(({ count }) => count)} writes`)
    t.same(lost, [], 'the disk where the guest goes on has every acknowledged write')
  }
})
