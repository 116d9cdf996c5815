// A machine moves, with whatever kind of tunnel: connections that were open go on through it, new
// ones come to the new address, it goes by itself, and nothing is left of it.
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'

import { Client, type Downloaded, type Echoed } from '../../testbed/clients/clients.js'
import { largeFile } from '../../testbed/guests/content.js'
import { Setting, urlOf } from '../../testbed/sites/setting.js'
import type { Pair, TunnelOf } from '../../testbed/sites/setting.js'
import { kFresh, kMachine } from '../../testbed/sites/sites.js'

/** `tunnelOf`: the options of the tunnel at a site. */
export async function connectionsGoOn (
  t: Test, family: 4 | 6, tunnelOf?: TunnelOf
): Promise<void> {
  const setting = await Setting.make(t, tunnelOf)
  const { sites } = setting
  const [old, fresh] = [kMachine[family], kFresh[family]]
  const before = { a: await setting.network('a'), b: await setting.network('b') }
  const pair = await setting.prepared([family])
  const folder = setting.state('a')
  t.equal(statSync(join(folder, readdirSync(folder)[0]!)).mode & 0o777, 0o600)
  t.equal(await setting.ask(old), 'here\n', 'nothing has changed yet')

  const echo = new Client<Echoed>(sites.client.name, 'echo', [old, '7', '20'], 20)
  const url = `${urlOf(old)}/${largeFile}?rate=2000000&bytes=100000000`
  const download = new Client<Downloaded>(sites.client.name, 'download', [url], 0)
  // The machine's old router is its client, too: a neighbour, which knows its hardware address.
  // With IPv6 the machine forgets it after a while: it knows it as a router by another address.
  const neighbour = family === 6
    ? null
    : new Client<Echoed>(sites.router.name, 'echo', [old, '7', '20'], 20)
  t.teardown(() => Promise.all([echo.kill(), download.kill(), neighbour?.kill()]))
  await sleep(1000)
  await setting.move(pair)
  await sleep(1000)
  t.equal(await setting.ask(fresh), 'here\n', 'the new address')
  t.equal(await setting.ask(old), 'here\n', 'the old one, still')
  t.equal(await setting.upload(old, 2e6), 2e6, 'large packets go through the tunnel')
  t.equal(await setting.upload(fresh, 2e6), 2e6)
  await pair.oldSite.event('connections', ({ count }) => count >= 2)
  const [echoed, downloaded] = [await echo.stop(), await download.stop()]
  t.match(echoed, { wrong: 0, broken: 0, failed: 0 })
  if (neighbour !== null) t.match(await neighbour.stop(), { wrong: 0, broken: 0, failed: 0 })
  t.match(downloaded, { wrongBytes: 0, broken: 0 })
  t.comment(`gaps: echo ${echoed.longestGapMs} ms, download ${downloaded.longestGapMs} ms, ` +
    `${downloaded.bytes} bytes, ${echoed.samples.length} echoes`)
  t.equal(await sites.wrongSources(), 0, 'no packet with a wrong source')

  t.match(await pair.oldSite.event('ended'), { reason: 'unused' })
  t.match(await pair.newSite.event('ended'), { reason: 'other-site' })
  t.same(readdirSync(folder), [], 'nothing is in the list')
  t.equal(await setting.network('a'), before.a, 'nothing is left at the old site')
  t.equal(await setting.ask(fresh), 'here\n', 'the new address stays')
  t.equal(await pair.newSite.call('undo'), null)
  t.equal(await setting.network('b'), before.b, 'nothing is left at the new site')
}

/** The link to the new site takes smaller packets than the others. */
export async function narrowLink ({ sites: { b, router } }: Setting): Promise<void> {
  for (const device of ['uplink', 'lan']) await b.ip('link', 'set', 'dev', device, 'mtu', '1400')
  await router.ip('link', 'set', 'dev', 'b', 'mtu', '1400')
}

/** Large transfers that are open when the machine moves go on, and new ones arrive. */
export async function transfersGoOn (t: Test, setting: Setting, pair: Pair): Promise<void> {
  const families = [4, 6] as const
  const downloads = families.map((family) => {
    const url = `${urlOf(kMachine[family])}/${largeFile}?rate=4000000&bytes=1000000000`
    return new Client<Downloaded>(setting.sites.client.name, 'download', [url], 0)
  })
  t.teardown(() => Promise.all(downloads.map((download) => download.kill())))
  await sleep(1000)
  await setting.move(pair)
  await sleep(3000)
  for (const download of downloads) {
    const { samples, ...seen } = await download.stop()
    t.match(seen, { wrongBytes: 0, broken: 0 })
    const { startMs } = samples.at(-1)!
    const late = samples.filter(({ endMs }) => endMs > startMs - 1000)
    t.ok(late.length > 5, 'it goes on')
    t.comment(`${seen.bytes} bytes, the longest gap ${seen.longestGapMs} ms`)
  }
  for (const family of families) t.equal(await setting.upload(kMachine[family], 2e6), 2e6)
}
