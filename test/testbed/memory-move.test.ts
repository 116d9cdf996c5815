// QEMU moves a guest's memory from host A to host B (both have the same disk here) while clients
// use it: what every migration with memory builds on.

import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'

import { Qmp } from '../../testbed/support/qmp.js'
import { boot, hostsFor } from '../support/booted.js'
import { echoNumbers, pollPage, writeRecords } from '../../testbed/clients/clients.js'
import { lostWrites } from '../../testbed/guests/log.js'
import { Guest } from '../../testbed/guests/guest.js'
import { guestAddress, type Hosts } from '../../testbed/hosts/hosts.js'
import { missingNeed } from '../../testbed/support/needs.js'

const skip = (await missingNeed()) ?? false
const patienceMs = 120_000

async function qmp (t: Test, guest: Guest): Promise<Qmp> {
  const connection = await Qmp.connect(guest.qmpSocket)
  t.teardown(() => connection.close())
  await connection.execute('migrate-set-capabilities', {
    capabilities: [{ capability: 'events', state: true }]
  })
  return connection
}

async function move (t: Test, hosts: Hosts, from: Guest, to: Guest): Promise<void> {
  const [source, destination] = [await qmp(t, from), await qmp(t, to)]
  const uri = `tcp:${hosts.b.address}:4444`
  await destination.execute('migrate-incoming', { uri })
  await source.execute('migrate', { uri })
  t.ok(await source.event(['STOP'], patienceMs), 'the source stops')
  while (!(await isIn(destination, 'paused'))) await sleep(10)
  await destination.execute('cont')
}

async function isIn (connection: Qmp, wanted: string): Promise<boolean> {
  const { status } = (await connection.execute('query-status')) as { status: string }
  return status === wanted
}

t.test('a guest and its connections move', { skip }, async (t) => {
  const hosts = await hostsFor(t, { link: { rateBitsPerSecond: 1e9 } })
  const { guest, options, image, disk } = await boot(t, hosts)
  const { namespace } = hosts.b
  const moved = await Guest.start({ ...options, namespace, incoming: true })
  t.teardown(() => moved.kill())
  const clients = { namespace: hosts.client, address: guestAddress, intervalMs: 50 }
  const polls = pollPage(clients, 'kept')
  const [writes, echoes] = [writeRecords(clients), echoNumbers(clients)]
  await sleep(1000)
  await move(t, hosts, guest, moved)
  await guest.kill()
  await sleep(1000)

  const [polled, written, echoed] = [await polls.stop(), await writes.stop(), await echoes.stop()]
  t.comment(`pages: ${polled.longestGapMs} ms, echo: ${echoed.longestGapMs} ms without an answer`)
  for (const { failed } of [polled, written, echoed]) t.equal(failed, 0)
  t.match(echoed, { wrong: 0, broken: 0 })
  await moved.kill()
  await disk.close()
  t.same(await lostWrites(image, written.acknowledged), [])
})
