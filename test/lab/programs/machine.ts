// In the lab: a QEMU machine that was started on a plain device moves with its memory, to where its
// disk is served by blockferry. It writes all the time; nothing that it wrote is lost.
import { execFileSync } from 'node:child_process'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import t, { type Test } from 'tap'

import type { TapKind } from '../../../lib/index.js'
import { migrate, NbdServer, openTap, qemu, receive } from '../../../lib/index.js'
import { bareQemu, incoming, stateOf } from '../../machine/bare-qemu.js'
import { deviceOf } from '../../support/dm.js'
import { temporary } from '../../../testbed/support/images.js'
import { loopDevice } from '../../support/root.js'
import { bootSector, countIn, kGuestBytes, lostBlocks } from '../../../testbed/lab/writer-guest.js'

function drive (node: object): string[] {
  return [
    '-blockdev', JSON.stringify({ ...node, 'node-name': 'disk' }),
    '-device', 'virtio-blk-pci,id=disk0,drive=disk,bootindex=0'
  ]
}

function image (folder: string): string {
  const path = join(folder, 'a.img')
  writeFileSync(path, bootSector(folder))
  truncateSync(path, kGuestBytes)
  return path
}

/** Where the machine goes: its disk is served there, and QEMU waits for it. */
async function destination (t: Test, folder: string) {
  const path = join(folder, 'b.img')
  const target = await openTap({ source: path, name: 'disk', createSize: kGuestBytes })
  target.refuse()
  const server = new NbdServer()
  server.add(target)
  const socket = join(folder, 'b.sock')
  await server.listen({ path: socket })
  const node = { driver: 'nbd', export: 'disk', server: { type: 'unix', path: socket } }
  const guest = await bareQemu(t, folder, ...drive(node), ...incoming)
  const receiver = await receive({
    disks: [{ destination: target, name: 'disk' }], machine: qemu({ qmp: guest.qmpSocket })
  })
  t.teardown(async () => {
    await receiver.close()
    await server.close()
    await target.close()
  })
  return { path, guest, address: `127.0.0.1:${receiver.address.port}` }
}

async function until (holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(100)
}

async function move (t: Test, device: string, tap: TapKind, cache: object): Promise<void> {
  const folder = temporary(t)
  const here = await bareQemu(t, folder, ...drive({ driver: 'host_device', filename: device, cache }))
  await until(() => countIn(readFileSync(device)) > 100)
  const { path, guest, address } = await destination(t, folder)
  const report = await migrate({
    disks: [{ source: device, name: 'disk', tap }], destination: address,
    machine: qemu({ qmp: here.qmpSocket }), budgets: { downtime: '5s' }
  })
  t.equal(report.equal, true)
  t.ok(report.dirty.bytes > 0, 'it wrote meanwhile')
  t.equal(await stateOf(here.monitor), 'postmigrate')
  const before = countIn(readFileSync(path))
  await until(() => countIn(readFileSync(path)) > before)
  await guest.monitor.execute('stop')
  t.same(lostBlocks(readFileSync(path)), [], `every write is there, of ${before} before and some after the move`)
}

const caches = { 'past the page cache': { direct: true }, 'in the page cache': { direct: false } }
for (const [words, cache] of Object.entries(caches)) {
  t.test(`bpf, ${words}`, async (t) => {
    await move(t, loopDevice(t, image(temporary(t))), 'bpf', cache)
  })
  t.test(`dm, ${words}`, async (t) => {
    const device = deviceOf(t, 'linear')
    execFileSync('dd', [`if=${image(temporary(t))}`, `of=${device}`, 'bs=1M', 'oflag=direct', 'status=none'])
    await move(t, device, 'dm', cache)
  })
}
