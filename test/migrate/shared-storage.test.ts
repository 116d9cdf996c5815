// Storage that both sides see is never taken for two disks: nothing is written there.
import { execFileSync } from 'node:child_process'
import { copyFileSync, linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Test } from 'tap'
import t from 'tap'

import type { ReceiveOptions } from '../../lib/index.js'
import { migrate, openTap, receive } from '../../lib/index.js'
import { commonPlace, namesOf, placesOf } from '../../lib/tap/places.js'
import { kNeedsBpf } from '../support/bpf.js'
import { hashOf, makeImage, temporary } from '../../testbed/support/images.js'
import { rawSource } from '../support/raw-peers.js'
import { kNeedsRoot, loopDevice } from '../support/root.js'

const kSize = 4 << 20

/** It is refused, with the source in charge, and nothing is written. */
async function refuses (
  t: Test, source: string, target: ReceiveOptions['disks'][number]['destination'], tap?: 'bpf'
): Promise<void> {
  const before = await hashOf(source)
  await using receiver = await receive({ disks: [{ destination: target }] })
  const machine = { pause: () => {}, resume: () => {} }
  const migration = migrate({
    disks: [{ source, ...(tap !== undefined && { tap }) }], machine, destination: receiver.address, reuse: false
  })
  await t.rejects(migration, { code: 'REFUSED', owner: 'source', message: /the disk itself that is to move/ })
  t.equal(await hashOf(source), before)
}

t.test('the same file', async (t) => {
  const dir = temporary(t)
  const source = makeImage(join(dir, 'a'), kSize)
  linkSync(source, join(dir, 'b'))
  await refuses(t, source, join(dir, 'b'))
  const target = await openTap({ source: join(dir, 'b'), readOnly: true })
  target.refuse()
  await refuses(t, source, target)
  await target.close()
})

t.test("another disk's file", async (t) => {
  const dir = temporary(t)
  const [a, b] = ['a', 'b'].map((name, index) => makeImage(join(dir, name), kSize, index)) as [string, string]
  const before = await hashOf(b)
  linkSync(b, join(dir, 'other'))
  await using receiver = await receive({
    disks: [{ name: 'a', destination: join(dir, 'other') }, { name: 'b', destination: join(dir, 'new') }]
  })
  const migration = migrate({ disks: [{ source: a, name: 'a' }, { source: b, name: 'b' }], destination: receiver.address })
  await t.rejects(migration, { code: 'REFUSED', owner: 'source', message: /other here is/ })
  t.equal(await hashOf(b), before)
})

t.test('a device with a tap in the kernel', { skip: kNeedsBpf }, async (t) => {
  const device = loopDevice(t, makeImage(join(temporary(t), 'a'), kSize))
  await refuses(t, device, device, 'bpf')
})

t.test('a partition, its disk, and the file below', { skip: kNeedsRoot }, async (t) => {
  const dir = temporary(t)
  const file = makeImage(join(dir, 'a'), kSize)
  const disk = loopDevice(t, file)
  for (const [number, start] of [['1', '2048'], ['2', '4096']] as const) {
    execFileSync('addpart', [disk, number, start, '2048'])
    t.teardown(() => execFileSync('delpart', [disk, number]))
  }
  const [first, second] = ['p1', 'p2'].map((end) => {
    const node = join(dir, end)
    const name = `${disk.slice('/dev/'.length)}${end}`
    execFileSync('mknod', [node, 'b', ...readFileSync(`/sys/class/block/${name}/dev`, 'utf8').trim().split(':')])
    return node
  }) as [string, string]
  await refuses(t, first, disk)
  await refuses(t, first, file)
  await refuses(t, disk, second)
  const places = await Promise.all([first, second, disk, file].map(async (path) => await placesOf(path)))
  t.equal(commonPlace(places[0]!, places[1]!), null, 'two partitions are two disks')
  t.ok(commonPlace(places[2]!, places[3]!))
})

t.test('two disks are not one', { skip: kNeedsRoot }, async (t) => {
  const dir = temporary(t)
  const source = makeImage(join(dir, 'a'), kSize)
  copyFileSync(source, join(dir, 'b'))
  const [here, there] = [loopDevice(t, source), loopDevice(t, join(dir, 'b'))]
  await using receiver = await receive({ disks: [{ destination: there }] })
  t.equal((await migrate({ disks: [{ source: here }], destination: receiver.address })).equal, true)
  for (const tap of receiver.taps.values()) await tap.close()
  t.same(await placesOf(join(dir, 'none')), [])
  t.same(await placesOf('/dev/null'), [])
})

t.test('a LUN that two hosts see', async (t) => {
  const dir = temporary(t)
  const folder = (name: string, files: Record<string, string>) => {
    for (const [file, content] of Object.entries({ size: '8192', dev: '8:16', diskseq: '9', ...files })) {
      mkdirSync(join(dir, name, file, '..'), { recursive: true })
      writeFileSync(join(dir, name, file), `${content}\n`)
    }
    return join(dir, name)
  }
  const named = async (name: string, files: Record<string, string>) => (
    (await namesOf(folder(name, files))).map((name) => ({ name, start: 0, length: 4096 })))
  const here = await named('sda', { 'device/wwid': 'naa.6001405f' })
  const there = await named('sdb', { dev: '8:32', 'device/wwid': 'naa.6001405f' })
  t.match(commonPlace(here, there), /^naa.6001405f/)
  t.equal(commonPlace(here, await named('sdc', { dev: '8:48', 'device/wwid': 'naa.6001405e' })), null)
  t.equal(commonPlace(
    await named('ata', { dev: '8:64', 'device/wwid': 't10.ATA     QEMU HARDDISK   QM00001' }),
    await named('atb', { dev: '8:80', 'device/wwid': 't10.ATA     QEMU HARDDISK   QM00001' })),
  null, 'disks of two hosts that are called the same')
  const ceph = { 'device/cluster_fsid': 'a', 'device/pool_id': '1', 'device/image_id': 'b' }
  t.match(commonPlace(await named('rbd0', { dev: '250:0', ...ceph }), await named('rbd1', { dev: '250:1', ...ceph })), /^rbd a 1 b/)
})

t.test('who knows better', async (t) => {
  const source = makeImage(join(temporary(t), 'a'), kSize)
  const offer = {
    type: 'offer', migration: 'm', streams: 1, equality: true, reuse: true, machine: null,
    disks: [{ name: 'disk', size: kSize, blockSize: 4096, epoch: 0, places: await placesOf(source) }]
  }
  const answers = [[false, 'failed', { code: 'REFUSED' }], [true, 'accept', {}]] as const
  for (const [force, answer, content] of answers) {
    await using receiver = await receive({ disks: [{ destination: source, force }] })
    const { sender, say, hears } = await rawSource(t, receiver.address)
    say(offer)
    t.match(await hears(answer), content)
    await sender.close()
  }
})
