// A machine moves to a site with other addresses: connections that were open go on through the
// tunnel, new ones come to the new address.
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'

import { Client, type Downloaded, type Echoed } from '../hosts/clients.js'
import { end, start } from '../hosts/process.js'
import { largeFile } from '../hosts/guest-content.js'
import { Site } from './site.js'
import { kFresh, kHostA, kHostB, kMachine, kRouterA, Sites } from './sites.js'

t.setTimeout(180_000)

const kUrl = { 4: (address: string) => `http://${address}`, 6: (address: string) => `http://[${address}]` }

/** Sites with a machine at A that serves. */
async function sitesFor (t: Test): Promise<{ sites: Sites, folder: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'redirect-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const sites = await Sites.make()
  t.teardown(() => sites.close())
  const program = new URL('./programs/server.js', import.meta.url).pathname
  const server = start([process.execPath, program], {
    namespace: sites.machine.name, stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => end(server))
  await once(server.stdout!, 'data')
  return { sites, folder }
}

function siteFor (t: Test, namespace: string, options: object): Site {
  const site = new Site(namespace, options)
  t.teardown(() => site.kill())
  return site
}

for (const family of [4, 6] as const) {
  t.test(`old connections go on, new ones arrive, IPv${family}`, async (t) => {
    const { sites, folder } = await sitesFor(t)
    const common = { address: kMachine[family], device: 'lan' }
    const oldSite = siteFor(t, sites.a.name, {
      ...common,
      role: 'old',
      tunnel: { local: kHostA[4], remote: kHostB[4] },
      quiet: '500ms',
      poll: '200ms',
      runtimeFolder: join(folder, 'a')
    })
    const newSite = siteFor(t, sites.b.name, {
      ...common,
      role: 'new',
      tunnel: { local: kHostB[4], remote: kHostA[4] },
      newAddress: kFresh[family],
      gateway: kRouterA[family],
      runtimeFolder: join(folder, 'b')
    })
    const url = kUrl[family]
    const before = await sites.a.run('sh', '-c', 'ip rule; ip -6 rule; ip -br link; nft list ruleset; ip neigh show proxy')
    t.equal(await newSite.call('prepare'), null)
    t.equal(await oldSite.call('prepare'), null)
    t.equal(await oldSite.call('verify'), null)
    t.equal(statSync(join(folder, 'a', readdirSync(join(folder, 'a'))[0]!)).mode & 0o777, 0o600)

    const echo = new Client<Echoed>(sites.client.name, 'echo', [kMachine[family], '7', '20'], 20)
    const download = new Client<Downloaded>(sites.client.name, 'download', [
      `${url(kMachine[family])}/${largeFile}?rate=2000000&bytes=100000000`], 0)
    t.teardown(() => Promise.all([echo.kill(), download.kill()]))
    await sleep(1000)
    await sites.plug('b')
    const switched = await Promise.all([oldSite.call('switchOver'), newSite.call('switchOver')])
    t.same(switched, [null, null])
    await sleep(3000)
    t.equal(await fetchIn(sites.client.name, `${url(kFresh[family])}/`), 'here\n', 'the new address')
    t.equal(await fetchIn(sites.client.name, `${url(kMachine[family])}/`), 'here\n', 'the old one, still')
    await oldSite.event('connections', ({ count }) => count >= 2)
    const [echoed, downloaded] = [await echo.stop(), await download.stop()]
    t.match(echoed, { wrong: 0, broken: 0, failed: 0 })
    t.match(downloaded, { wrongBytes: 0, broken: 0 })
    t.comment(`gaps: echo ${echoed.longestGapMs} ms, download ${downloaded.longestGapMs} ms, ` +
      `${downloaded.bytes} bytes, ${echoed.samples.length} echoes`)
    t.equal(await sites.wrongSources(), 0, 'no packet with a wrong source')

    t.match(await oldSite.event('ended'), { reason: 'unused' })
    t.match(await newSite.event('ended'), { reason: 'other-site' })
    t.same(readdirSync(join(folder, 'a')), [])
    t.equal(await sites.a.run('sh', '-c', 'ip rule; ip -6 rule; ip -br link; nft list ruleset; ip neigh show proxy'), before)
    t.equal(await fetchIn(sites.client.name, `${url(kFresh[family])}/`), 'here\n', 'the new address stays')
  })
}

async function fetchIn (namespace: string, url: string): Promise<string> {
  const code = `process.stdout.write(await (await fetch('${url}')).text())`
  const child = start([process.execPath, '--input-type=module', '-e', code], {
    namespace, stdio: ['ignore', 'pipe', 'inherit']
  })
  let text = ''
  child.stdout!.setEncoding('utf8').on('data', (part: string) => { text += part })
  await once(child, 'close')
  return text
}
