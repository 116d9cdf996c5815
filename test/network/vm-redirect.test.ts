// A real machine with its web server moves to a site with other addresses, with its disk, its
// memory and its clients' connections; nothing is changed inside.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'

import { Tool } from '../../testbed/tools/tool.js'
import { downloadSlowly, echoNumbers, pollPage, writeRecords } from '../../testbed/clients/clients.js'
import { placeGuestImage } from '../../testbed/guests/image.js'
import { lostWrites } from '../../testbed/guests/log.js'
import { Guest } from '../../testbed/guests/guest.js'
import { missingNeed } from '../../testbed/support/needs.js'
import { missing } from '../../testbed/sites/setting.js'
import { kFresh, kHostA, kHostB, kMachine, kRouterA, Sites } from '../../testbed/sites/sites.js'

const skip = (await missingNeed()) ?? await missing()

t.test('to another site', { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'redirect-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const at = (name: string) => join(folder, name)
  const sites = await Sites.make({ vm: true })
  t.teardown(() => sites.close())
  const content = { diskBytes: 2 ** 28, contentBytes: 2 ** 23 }
  await placeGuestImage(at('a.img'), content)
  writeFileSync(at('b.img'), '')
  truncateSync(at('b.img'), content.diskBytes)

  const common = { address: kMachine[4], device: 'lan' }
  const source = new Tool(sites.a.name, 'source', at('a.img'), at('a.nbd'), at('a.qmp'), JSON.stringify({
    ...common,
    role: 'old',
    tunnel: { local: kHostA[4], remote: kHostB[4] },
    quiet: '1s',
    poll: '500ms',
    runtimeFolder: at('a')
  }))
  t.teardown(() => source.close())
  await source.next()
  const options = {
    folder, address: `${kMachine[4]}/24`, gateway: kRouterA[4], tapDevice: 'guest0', nbdExport: 'disk'
  }
  const guest = await Guest.start({ ...options, namespace: sites.a.name, nbdSocket: at('a.nbd'), name: 'a' })
  t.teardown(() => guest.kill())
  await guest.waitReady(`http://${kMachine[4]}/`, sites.client.name)

  const destination = new Tool(
    sites.b.name, 'destination', at('b.img'), at('b.nbd'), at('b.qmp'), kHostB[4], JSON.stringify({
      ...common,
      role: 'new',
      tunnel: { local: kHostB[4], remote: kHostA[4] },
      newAddress: kFresh[4],
      gateway: kRouterA[4],
      runtimeFolder: at('b')
    }))
  t.teardown(() => destination.close())
  const { port } = await destination.next()
  const arriving = await Guest.start({
    ...options, namespace: sites.b.name, nbdSocket: at('b.nbd'), name: 'b', incoming: true
  })
  t.teardown(() => arriving.kill())

  const client = { namespace: sites.client.name, address: kMachine[4] }
  const [polls, writes] = [pollPage(client, 'kept'), writeRecords(client)]
  const [echoes, download] = [echoNumbers(client), downloadSlowly(client)]
  const clients = [polls, writes, echoes, download]
  t.teardown(() => Promise.all(clients.map((one) => one.kill())))
  await sleep(1500)
  source.say(`${kHostB[4]}:${port} 300ms`)
  let report: any
  for await (const event of source.events()) {
    if (event.event === 'failed') throw new Error(`${event.error.code}: ${event.error.message}`)
    if (event.event === 'done') report = event.report
  }
  t.equal(report.equal, true)
  await destination.next()
  await guest.kill()
  await sleep(3000)
  const fresh = pollPage({ namespace: sites.client.name, address: kFresh[4] }, 'new')
  await sleep(2000)
  t.match(await fresh.stop(), { failed: 0 }, 'new clients, at the new address')
  const [polled, written] = [await polls.stop(), await writes.stop()]
  const [echoed, downloaded] = [await echoes.stop(), await download.stop()]
  for (const { failed } of [polled, written, echoed]) t.equal(failed, 0)
  t.match(echoed, { wrong: 0, broken: 0 })
  t.match(downloaded, { wrongBytes: 0, broken: 0 })
  t.comment(`longest gaps, ms: pages ${polled.longestGapMs}, writes ${written.longestGapMs}, ` +
    `echo ${echoed.longestGapMs}, download ${downloaded.longestGapMs}; ` +
    `downtime ${JSON.stringify(report.downtime)}`)
  const ended = await source.until(({ redirect }) => redirect?.event === 'ended')
  t.match(ended, { redirect: { reason: 'unused' } }, 'the tunnel goes by itself')
  t.equal(await sites.wrongSources(), 0)
  await arriving.kill()
  await destination.close()
  t.same(await lostWrites(at('b.img'), written.acknowledged), [])
})
