// A machine that was started on a plain block device, and knows nothing of blockferry, moves with
// its memory and its connections.

import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Report } from '../../lib/session/report.js'
import { pollPage, writeRecords } from '../../testbed/clients/clients.js'
import { placeGuestImage } from '../../testbed/guests/image.js'
import { lostWrites } from '../../testbed/guests/log.js'
import { Guest, type GuestOptions } from '../../testbed/guests/guest.js'
import { guestAddress, guestNetwork, Hosts, type Host } from '../../testbed/hosts/hosts.js'
import { Command, Side } from '../../testbed/guests/moving-guest.js'
import { missingNeed } from '../../testbed/support/needs.js'
import { kNeedsBpf } from '../support/bpf.js'
import { temporary } from '../../testbed/support/images.js'
import { loopDevice } from '../support/root.js'

const skip = kNeedsBpf !== false ? kNeedsBpf : ((await missingNeed()) ?? false)
const diskBytes = 2 ** 28

async function boot (t: Test, { namespace, tapDevice }: Host, options: Partial<GuestOptions>) {
  const place = { namespace, tapDevice, folder: temporary(t), address: guestNetwork }
  const guest = await Guest.start({ ...place, ...options })
  t.teardown(() => guest.kill())
  return guest
}

/** On the other host, with an empty disk: where the machine is to go. */
async function destination (t: Test, host: Host) {
  const folder = temporary(t)
  writeFileSync(join(folder, 'b.img'), '')
  truncateSync(join(folder, 'b.img'), diskBytes)
  const side = new Side(host, folder, 'b', true)
  t.teardown(() => side.serve.kill())
  await side.serve.event('serving')
  const guest = await boot(t, host, { nbdSocket: side.nbdSocket, incoming: true })
  await guest.untilMonitored()
  const receive = new Command(host.namespace, [
    ...['receive', '--control', side.control, '--listen', `${host.address}:0`, '--plain'],
    ...['--machine', `qemu:${guest.qmpSocket}`]
  ])
  t.teardown(() => receive.kill())
  const { host: name, port } = await receive.event('listening')
  return { side, guest, receive, address: `${name}:${port}` }
}

t.test('a machine on a loop device', { skip }, async (t) => {
  const hosts = await Hosts.make()
  t.teardown(() => hosts.close())
  const image = join(temporary(t), 'a.img')
  await placeGuestImage(image, { diskBytes, contentBytes: 2 ** 23 })
  const device = loopDevice(t, image)
  const here = await boot(t, hosts.a, { diskFile: device })
  await here.waitReady(`http://${guestAddress}/`, hosts.client)
  const { side, guest, receive, address } = await destination(t, hosts.b)

  const clients = { namespace: hosts.client, address: guestAddress }
  const [polls, writes] = [pollPage(clients, 'kept'), writeRecords(clients)]
  const send = new Command(hosts.a.namespace, [
    ...['send', '--disk', `disk=${device}`, '--tap', 'auto', '--to', address, '--plain'],
    ...['--machine', `qemu:${here.qmpSocket}`]
  ])
  t.teardown(() => send.kill())
  const code = await send.ended
  t.equal(code, 0, code === 0 ? 'it has moved' : send.lastWords)
  const { report } = (await send.event('done')) as { report: Report }
  t.equal(report.equal, true)
  t.equal(await receive.ended, 0)
  t.comment(`downtime ${JSON.stringify(report.downtime)}, ${report.durationMs} ms`)
  await sleep(1000)
  const [polled, written] = [await polls.stop(), await writes.stop()]
  for (const { failed } of [polled, written]) t.equal(failed, 0)
  await guest.kill()
  await side.serve.kill('SIGTERM')
  t.same(await lostWrites(side.image, written.acknowledged), [], 'every acknowledged record is there')
})
