// A domU with its disk, its memory and its connections moves between two hosts of Xen and back, live and
// stopped, tapped in both ways, while it writes.
import { readFileSync } from 'node:fs'

import type { Test } from 'tap'
import t from 'tap'

import { missingNeed } from '../../../testbed/support/needs.js'
import { XenGuest } from '../../../testbed/xen/guest.js'
import { linearDisk } from '../../../testbed/xen/linear-disk.js'
import type { SideOptions } from '../../../testbed/xen/programs/side.js'
import { startMove } from '../../../testbed/xen/side.js'
import { lostWrites } from '../../../testbed/xen/writes.js'
import type { XenHost } from '../../../testbed/xen/xen-host.js'
import { XenHosts } from '../../../testbed/xen/xen-hosts.js'

const kDisk = '/dev/mapper/web'

t.test('there and back', { skip: (await missingNeed()) ?? false }, async (t) => {
  const hosts = await XenHosts.boot({ guestsMiB: 256 })
  t.teardown(() => hosts.close())
  for (const host of hosts.all) await linearDisk(host)
  const guest = await XenGuest.create(hosts.a, { disks: [`phy:${kDisk}`], spanBlocks: 256, pauseMicros: 100_000 })

  async function move (
    t: Test, from: XenHost, to: XenHost, options: Pick<SideOptions, 'tap' | 'memory'>
  ): Promise<void> {
    const disks = [{ name: 'web', path: kDisk }]
    const before = await guest.writes(from)
    const { source, destination } = await startMove(from, to, { domain: 'web', disks, ...options })
    const { code } = await source.ended
    if (!t.equal(code, 0, 'it has moved')) throw new Error(`${source.output()} ${destination.output()}`)
    await destination.until('done')
    t.match(await from.must('xl list'), /^Name.*\nDomain-0 [^\n]*\n$/, 'it is gone from there')
    await guest.ready(to)
    const after = await guest.writes(to)
    for (const [index, { count }] of after[0]!.entries()) {
      t.ok(count > before[0]![index]!.count, `${count} writes`)
    }
    const { moved, report } = source.said().find((line) => 'moved' in line)!
    t.equal(moved, options.memory)
    t.comment(JSON.stringify(report))
  }

  await t.test('live, by dm', (t) => move(t, hosts.a, hosts.b, { tap: 'dm', memory: 'live' }))
  await t.test('back, stopped, by bpf', (t) => move(t, hosts.b, hosts.a, { tap: 'bpf', memory: 'cold' }))
  await guest.stopWriters(hosts.a)
  const content = readFileSync(hosts.a.disk())
  for (const writes of (await guest.writes(hosts.a))[0]!) {
    t.same(lostWrites(content, writes), [], `none of ${writes.count} writes is lost`)
  }
})
