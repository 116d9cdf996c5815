// A guest boots on one of two hosts, its clients get what they ask for, and what it acknowledged
// is on its disk afterwards.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'

import { run } from '../../testbed/support/command.js'
import { boot, hostsFor } from '../support/booted.js'
import { downloadSlowly, echoNumbers, pollPage, writeRecords } from '../../testbed/clients/clients.js'
import { lostWrites, readLog } from '../../testbed/guests/log.js'
import { guestAddress, type Hosts } from '../../testbed/hosts/hosts.js'
import { missingNeed } from '../../testbed/support/needs.js'

const skip = (await missingNeed()) ?? false
const slowLink = { rateBitsPerSecond: 5e6, delayMs: 20, lossRatio: 0.001 }

/** Whether host B answers host A over the link within this time. */
async function isReached (hosts: Hosts, seconds: number): Promise<boolean> {
  const program = new URL('../../testbed/clients/programs/reach.js', import.meta.url).pathname
  const command = ['netns', 'exec', hosts.a.namespace, process.execPath, program]
  return (await run('ip', ...command, hosts.b.address, String(seconds))).trim() === 'true'
}

for (const options of [{}, { link: slowLink }, { link: slowLink, stretched: true }]) {
  t.test(`hosts and their link: ${JSON.stringify(options)}`, { skip }, async (t) => {
    const hosts = await hostsFor(t, options)
    t.ok(await isReached(hosts, 30))
    await hosts.link.cut()
    t.notOk(await isReached(hosts, 1))
    await hosts.link.restore()
    t.ok(await isReached(hosts, 30))
    const { aToB, bToA } = await hosts.link.stats()
    t.ok(aToB.bytes > 0 && bToA.bytes > 0)
  })
}

t.test('a guest and its clients', { skip }, async (t) => {
  const hosts = await hostsFor(t)
  const { guest, image, disk, service } = await boot(t, hosts)
  const options = { namespace: hosts.client, address: guestAddress, intervalMs: 50 }
  const [polls, kept] = [pollPage(options, 'new'), pollPage(options, 'kept')]
  const [writes, echoes] = [writeRecords(options), echoNumbers(options)]
  const download = downloadSlowly(options)
  await sleep(3000)
  const polled = [await polls.stop(), await kept.stop()]
  const [written, echoed] = [await writes.stop(), await echoes.stop()]
  const downloaded = await download.stop()

  for (const { samples, failed } of [...polled, written, echoed]) {
    t.ok(samples.length > 0)
    t.equal(failed, 0)
  }
  t.match(echoed, { wrong: 0, broken: 0 })
  t.match(downloaded, { wrongBytes: 0, broken: 0 })
  t.ok(downloaded.bytes > 0)

  await service.startStress({ mebibytes: 8 })
  while ((await service.stressCount()) < 100) await sleep(50)
  const last = await service.write(1)

  await guest.kill() // in the middle of its writing
  await disk.close()
  t.same(await lostWrites(image, [...written.acknowledged, last]), [])
  t.same(await readLog(image), [...written.acknowledged, last])
  t.same(await lostWrites(image, ['one that was never written']), ['one that was never written'])
})

t.test('a guest that is asked to shuts down, and leaves a clean disk', { skip }, async (t) => {
  const { guest, image, disk, service } = await boot(t, await hostsFor(t))
  const record = await service.write(7)
  await service.powerOff()
  await guest.ended()
  await disk.close()
  t.match(await run('dumpe2fs', '-h', image), /^Filesystem state: +clean$/m)
  t.notMatch(await run('dumpe2fs', '-h', image), /needs_recovery/)
  t.same(await readLog(image), [record])
})
