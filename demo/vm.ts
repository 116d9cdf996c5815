// `npm run demo -- vm`: a virtual machine with a web server moves from host A to host B, with its
// disk, its memory and its clients' connections, while they use it. The hosts are network
// namespaces here, which takes root; the machine runs under QEMU's software emulation.
//
// How a tool of your own does it is in testbed/tools/source.ts and testbed/tools/destination.ts.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

import { formatBytes, formatTime } from '../lib/cli/format.js'
import { ProgressDisplay } from '../lib/cli/progress-display.js'
import { reportText } from '../lib/cli/report-text.js'
import { downloadSlowly, echoNumbers, pollPage, writeRecords } from '../testbed/clients/clients.js'
import { placeGuestImage } from '../testbed/guests/image.js'
import { lostWrites } from '../testbed/guests/log.js'
import { Guest } from '../testbed/guests/guest.js'
import { guestAddress, guestNetwork, Hosts } from '../testbed/hosts/hosts.js'
import { missingNeed } from '../testbed/support/needs.js'
import { Tool } from '../testbed/tools/tool.js'

const kHelp = `Usage: npm run demo -- vm [--wan]

  --wan   over 5 Mbit/s with 100 ms of round trip instead of a LAN; takes about a minute and a half`

const { values } = parseArgs({
  options: { wan: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h', default: false } }
})

const kWan = {
  link: { rateBitsPerSecond: 5e6, delayMs: 50 }, diskBytes: 2 ** 28, contentBytes: 2 ** 21, memoryMiB: 128, downtime: '800ms'
}
const kLan = { link: undefined, diskBytes: 2 ** 30, contentBytes: 2 ** 26, memoryMiB: 256, downtime: '300ms' }

let steps = 0
function step (text: string): void {
  console.log(`\n${++steps}. ${text}`)
}

function say (text: string): void {
  console.log(`   ${text}`)
}

type Setting = typeof kLan | typeof kWan
type Undo = Array<() => Promise<unknown>>

async function demo (folder: string, setting: Setting, undo: Undo): Promise<void> {
  const at = (name: string) => join(folder, name)
  step('Two hosts, and clients elsewhere')
  const hosts = await Hosts.make(setting.link === undefined ? {} : { link: setting.link })
  undo.push(() => hosts.close())
  say(setting.link === undefined ? 'a LAN between the hosts' : '5 Mbit/s and 100 ms of round trip between the hosts')

  step('A web server on host A')
  await placeGuestImage(at('a.img'), setting)
  const source = new Tool(hosts.a.namespace, 'source', at('a.img'), at('a.nbd'), at('a.qmp'))
  undo.push(() => source.close())
  await source.next()
  const guestOptions = { folder, address: guestNetwork, nbdExport: 'disk', memoryMiB: setting.memoryMiB }
  const guest = await Guest.start({ ...hosts.a, ...guestOptions, nbdSocket: at('a.nbd'), name: 'a' })
  undo.push(() => guest.kill())
  await guest.waitReady(`http://${guestAddress}/`, hosts.client)
  say(`nginx in a Linux guest: ${setting.memoryMiB} MiB of memory, ${formatBytes(setting.diskBytes)} of disk`)

  step('Its clients')
  const client = { namespace: hosts.client, address: guestAddress }
  const pages = pollPage(client, 'new')
  const [records, echo, download] = [writeRecords(client), echoNumbers(client), downloadSlowly(client)]
  undo.push(...[pages, records, echo, download].map((one) => () => one.kill()))
  say('one gets pages, one makes the server write to its disk, one keeps a connection open and')
  say('counts on it, one downloads a large file')
  await sleep(2000)

  step('Host B waits')
  writeFileSync(at('b.img'), '')
  truncateSync(at('b.img'), setting.diskBytes)
  const destination = new Tool(
    hosts.b.namespace, 'destination', at('b.img'), at('b.nbd'), at('b.qmp'), hosts.b.address)
  undo.push(() => destination.close())
  const { port } = await destination.next()
  const arriving = await Guest.start({
    ...hosts.b, ...guestOptions, nbdSocket: at('b.nbd'), name: 'b', incoming: true
  })
  undo.push(() => arriving.kill())
  await sleep(500)
  say(`an empty file, and a QEMU that waits for a machine; port ${port}`)

  step('The move')
  source.say(`${hosts.b.address}:${port} ${setting.downtime}`)
  const display = new ProgressDisplay(process.stderr, '   ')
  let report
  for await (const event of source.events()) {
    display.show(event)
    if (event.event === 'failed') throw new Error(event.error.message)
    if (event.event === 'done') report = event.report
  }
  await destination.next()
  say(reportText(report, 'host B').replaceAll('\n', '\n   '))
  await guest.kill()
  await sleep(3000)

  step('What the clients saw')
  const [polled, written, echoed, downloaded] = [
    await pages.stop(), await records.stop(), await echo.stop(), await download.stop()
  ]
  say(`the longest gap of the pages ${formatTime(polled.longestGapMs)}, of the writes ` +
    `${formatTime(written.longestGapMs)}, of the echo ${formatTime(echoed.longestGapMs)},`)
  say(`of the download ${formatTime(downloaded.longestGapMs)}`)
  const failed = polled.failed + written.failed + echoed.failed
  say(`${failed} requests failed, ${echoed.broken + downloaded.broken} connections broke, ` +
    `${downloaded.wrongBytes} bytes of the download were wrong`)
  await arriving.kill()
  await destination.close()
  const lost = await lostWrites(at('b.img'), written.acknowledged)
  say(`${written.acknowledged.length} writes were acknowledged, ${lost.length} of them are lost`)
  if (failed + echoed.broken + downloaded.broken + downloaded.wrongBytes + lost.length > 0) {
    throw new Error('the clients were disturbed')
  }
}

async function main (): Promise<number> {
  if (values.help) {
    console.log(kHelp)
    return 0
  }
  const need = await missingNeed()
  if (need !== undefined) {
    console.error(`This demo can't run here: ${need}`)
    return 1
  }
  const folder = mkdtempSync(join(tmpdir(), 'blockferry-demo-'))
  const undo: Undo = [async () => rmSync(folder, { recursive: true, force: true })]
  try {
    await demo(folder, values.wan ? kWan : kLan, undo)
    return 0
  } catch (error) {
    console.error(`\nThe demo failed: ${(error as Error).message}`)
    return 1
  } finally {
    for (const one of undo.reverse()) await one().catch(() => {})
  }
}

process.exitCode = await main()
