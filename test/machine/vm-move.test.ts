// A real machine with its web server moves to the other host and back, with its disk, memory and
// connections, while clients use it.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { echoNumbers, pollPage, writeRecords } from '../../testbed/clients/clients.js'
import { lostWrites } from '../../testbed/guests/log.js'
import { guestAddress, Hosts } from '../../testbed/hosts/hosts.js'
import { MovingGuest } from '../../testbed/guests/moving-guest.js'
import { missingNeed } from '../../testbed/support/needs.js'

const skip = (await missingNeed()) ?? false

t.test('there and back', { skip }, async (t) => {
  const hosts = await Hosts.make()
  t.teardown(() => hosts.close())
  const moving = await MovingGuest.boot(hosts, { diskBytes: 2 ** 28, contentBytes: 2 ** 23 })
  t.teardown(() => moving.close())
  const clients = { namespace: hosts.client, address: guestAddress }
  const polls = pollPage(clients, 'kept')
  const [writes, echoes] = [writeRecords(clients), echoNumbers(clients)]
  for (const way of ['there', 'back']) {
    await sleep(1000)
    const report = await moving.move()
    t.equal(report.equal, true, `${way}: equal`)
    t.comment(`${way}: downtime ${JSON.stringify(report.downtime)}, ${report.durationMs} ms`)
  }
  await sleep(1000)
  const [polled, written, echoed] = [await polls.stop(), await writes.stop(), await echoes.stop()]
  t.comment(`longest gaps, ms: pages ${polled.longestGapMs}, writes ${written.longestGapMs}, echo ${echoed.longestGapMs}`)
  for (const { failed } of [polled, written, echoed]) t.equal(failed, 0)
  t.match(echoed, { wrong: 0, broken: 0 })
  await moving.here.guest!.kill()
  await moving.here.serve.kill('SIGTERM')
  t.same(await lostWrites(moving.here.image, written.acknowledged), [])
})
