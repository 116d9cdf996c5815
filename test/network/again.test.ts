// What does not go straight on: prepared twice, several machines on one host, hosts that change
// meanwhile, a switchover that fails in part, and what another process does to it.
import t, { type Test } from 'tap'

import { Client, type Echoed } from '../../testbed/clients/clients.js'
import { Command } from '../../testbed/guests/moving-guest.js'
import { missing, Setting } from '../../testbed/sites/setting.js'
import { kFresh, kMachine } from '../../testbed/sites/sites.js'

const skip = await missing()

t.test('prepared, undone, prepared again', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const before = { a: await setting.network('a'), b: await setting.network('b') }
  const pair = await setting.prepared([4, 6])
  for (const site of [pair.newSite, pair.oldSite]) t.equal(await site.call('undo'), null)
  for (const place of ['a', 'b'] as const) {
    t.equal(await setting.network(place), before[place], `nothing is left at ${place}`)
  }
  for (const site of [pair.newSite, pair.oldSite]) t.equal(await site.call('prepare'), null)
  t.equal(await pair.oldSite.call('verify'), null)
  const echo = new Client<Echoed>(setting.sites.client.name, 'echo', [kMachine[4], '7', '20'], 20)
  t.teardown(() => echo.kill())
  await setting.move(pair)
  await pair.oldSite.event('connections', ({ count }) => count >= 1)
  t.notOk(pair.oldSite.lines.some(({ event }) => event === 'ended'), 'it goes on')
  t.match(await echo.stop(), { wrong: 0, broken: 0 })
  t.match(await pair.oldSite.event('ended'), { reason: 'unused' })
})

const kOther = { address: '10.10.0.11', newAddress: '10.20.0.11' }

t.test('two machines on one host: what both need stays for the other', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const { b } = setting.sites
  const before = await setting.network('b')
  const options = { ...setting.newOptions(), gateway: undefined }
  const sites = [setting.site('b', options), setting.site('b', { ...options, ...kOther })]
  const all = (method: string) => Promise.all(sites.map((site) => site.call(method)))
  const proxy = () => b.run('cat', '/proc/sys/net/ipv4/conf/lan/proxy_arp')
  t.same(await all('prepare'), [null, null], 'at the same time')
  t.same(await all('switchOver'), [null, null])
  const tables = [...(await b.ip('rule')).matchAll(/to (\S+) lookup (\d+)/g)]
    .map(([, address, table]) => `${address} ${table}`)
  t.equal(new Set(tables.map((line) => line.split(' ')[1])).size, 2, 'a table each')
  t.equal((await proxy()).trim(), '1')
  t.equal(await sites[0]!.call('undo'), null)
  t.equal((await proxy()).trim(), '1', 'the second needs it')
  t.equal(await sites[1]!.call('undo'), null)
  t.equal(await setting.network('b'), before, 'nothing is left')
})

t.test('the same machine twice, between other hosts', { skip }, async (t) => {
  const setting = await Setting.make(t)
  t.equal(await setting.site('a', setting.oldOptions()).call('prepare'), null)
  const tunnel = { local: '10.10.0.2', remote: '10.40.0.2' }
  t.match(await setting.site('a', { ...setting.oldOptions(), tunnel }).call('prepare'), {
    code: 'NETWORK', message: /has an address of this machine.*--remove/
  })
})

t.test('other machines come and go on the bridge meanwhile', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const { a } = setting.sites
  await a.addTap('guest8', 'lan')
  const site = setting.site('a', setting.oldOptions())
  t.equal(await site.call('prepare'), null)
  await a.ip('link', 'delete', 'dev', 'guest8')
  await a.addTap('guest9', 'lan')
  t.equal(await site.call('switchOver'), null)
  t.match(await a.run('nft', 'list', 'tables', 'netdev'), /blockferry/)
  t.match(await a.run('nft', 'list', 'ruleset', 'netdev'), /guest9/)
})

t.test('what the host answers for already stays its own', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const { a } = setting.sites
  await a.ip('neigh', 'add', 'proxy', kMachine[4], 'dev', 'lan')
  const before = await setting.network('a')
  const site = setting.site('a', setting.oldOptions())
  for (const method of ['prepare', 'switchOver', 'undo']) t.equal(await site.call(method), null)
  t.equal(await setting.network('a'), before)
})

t.test('a switchover that fails in part: the rest is done, and told', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const { b } = setting.sites
  const before = await setting.network('b')
  await b.addBridge('machines')
  const site = setting.site('b', {
    ...setting.newOptions(), device: 'machines', gateway: undefined, uplink: 'lan'
  })
  t.equal(await site.call('prepare'), null)
  await b.ip('link', 'delete', 'dev', 'machines')
  t.match(await site.call('switchOver'), { code: 'NETWORK', message: /machines/ })
  t.match(await b.ip('address', 'show', 'dev', 'lan'), kFresh[4], 'the new address is there')
  t.match(await site.event('switched'), {})
  t.equal(await site.call('undo'), null)
  t.equal(await setting.network('b'), before, 'nothing is left')
})

/** The command line at site B. */
function command (t: Test, setting: Setting, ...args: string[]): Command {
  const one = new Command(setting.sites.b.name, [
    'redirect', '--state', setting.state('b'), ...args
  ])
  t.teardown(() => one.kill())
  return one
}

t.test('removed by another process', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const before = await setting.network('b')
  const site = setting.site('b', { ...setting.newOptions(), deadline: '1h' })
  for (const method of ['prepare', 'switchOver']) t.equal(await site.call(method), null)
  const { id } = await site.event('switched')
  const second = command(t, setting, '--watch', id)
  t.match((await second.event('failed')).error, { code: 'BUSY' }, 'one looks after it already')
  t.equal(await command(t, setting, '--remove', id).ended, 0)
  t.match(await site.event('ended'), { reason: 'removed' })
  t.equal(await setting.network('b'), before, 'and nothing comes again')
})

t.test('killed when the machine had moved, before this site knew', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const { oldSite, newSite } = await setting.prepared([4], { quiet: '1h' })
  const { id } = await newSite.event('prepared')
  await newSite.kill()
  await setting.sites.plug('b')
  t.equal(await oldSite.call('switchOver'), null)
  const plain = command(t, setting, '--watch', id)
  t.match((await plain.event('failed')).error, { code: 'NETWORK', message: /is prepared/ })
  const watch = command(t, setting, '--watch', id, '--now')
  await watch.event('switched')
  for (const address of [kMachine[4], kFresh[4]]) t.equal(await setting.ask(address), 'here\n')
})
