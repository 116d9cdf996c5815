// A machine moves to a site with other addresses: connections that were open go on through the
// tunnel, new ones come to the new address, and the tunnel goes by itself.
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'

import { Client, type Echoed } from '../../testbed/clients/clients.js'
import { connectionsGoOn, narrowLink, transfersGoOn } from './connections-go-on.js'
import { missing, Setting } from '../../testbed/sites/setting.js'
import { kFresh, kHostA, kHostB, kMachine } from '../../testbed/sites/sites.js'

const skip = await missing()

for (const family of [4, 6] as const) {
  t.test(`old connections go on, new ones arrive, IPv${family}`, { skip }, async (t) => {
    await connectionsGoOn(t, family)
  })
}

t.test('connections that the machine begins come from its new address', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const { sites } = setting
  const pair = await setting.prepared()
  await setting.move(pair)
  const listen = 'require("net").createServer((s) => s.end(s.remoteAddress)).listen(99, "::")'
  const code4s = `${listen}; setTimeout(() => process.exit(), 4000)`
  const server = sites.client.run(process.execPath, '-e', code4s)
  await sleep(1000)
  const code = 'require("net").connect(99, "10.30.0.2").pipe(process.stdout)'
  t.equal(await sites.machine.run(process.execPath, '-e', code), `::ffff:${kFresh[4]}`)
  await server
  t.equal(await sites.wrongSources(), 0)
})

t.test('by a second address of the machine', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const { machine, client } = setting.sites
  await machine.ip('address', 'add', `${kFresh[4]}/32`, 'dev', 'eth0')
  const pair = await setting.prepared([4], {}, { by: 'guest' })
  const echo = new Client<Echoed>(client.name, 'echo', [kMachine[4], '7', '20'], 20)
  t.teardown(() => echo.kill())
  await sleep(500)
  await setting.move(pair)
  t.equal(await setting.ask(kFresh[4]), 'here\n', 'the new address')
  t.equal(await setting.ask(kMachine[4]), 'here\n', 'the old one')
  await sleep(500)
  t.match(await echo.stop(), { wrong: 0, broken: 0, failed: 0 })
  await pair.oldSite.event('ended')
  await pair.newSite.event('ended')
  await machine.ip('neigh', 'flush', 'all')
  t.equal(await setting.ask(kFresh[4]), 'here\n', 'the new address, with no tunnel')
})

t.test('a network of its own for machines, IPv6 between the hosts', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const { b, client, machine } = setting.sites
  await b.addBridge('machines')
  await b.join('guest0', 'machines')
  await sleep(2000) // until it has its own link-local address
  const before = await setting.network('b')
  const pair = await setting.prepared([4, 6], {
    tunnel: { local: kHostA[6], remote: kHostB[6] }
  }, {
    tunnel: { local: kHostB[6], remote: kHostA[6] }, device: 'machines', gateway: 'fe80::1'
  })
  const echoes = [4, 6].map((family) => new Client<Echoed>(
    client.name, 'echo', [kMachine[family as 4 | 6], '7', '20'], 20))
  t.teardown(() => Promise.all(echoes.map((echo) => echo.kill())))
  await sleep(500)
  await setting.move(pair)
  for (const family of [4, 6] as const) {
    t.equal(await setting.upload(kMachine[family], 1e6), 1e6)
    t.equal(await setting.upload(kFresh[family], 1e6), 1e6)
  }
  for (const echo of echoes) t.match(await echo.stop(), { wrong: 0, broken: 0, failed: 0 })
  await pair.newSite.event('ended')
  // What the machine knew of its old neighbours is forgotten some day.
  await machine.ip('neigh', 'flush', 'all')
  for (const family of [4, 6] as const) t.equal(await setting.ask(kFresh[family]), 'here\n')
  t.equal(await setting.sites.wrongSources(), 0)
  t.equal(await pair.newSite.call('undo'), null)
  const normal = (text: string) => text.replaceAll('UNKNOWN', 'UP').replace(/\s+/g, ' ')
  t.equal(normal(await setting.network('b')), normal(before), 'nothing is left at the new site')
})

t.test('the deadline ends the tunnel, in use or not', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const { client } = setting.sites
  const pair = await setting.prepared([4], { deadline: '3s' })
  const echo = new Client<Echoed>(client.name, 'echo', [kMachine[4], '7', '20'], 20)
  t.teardown(() => echo.kill())
  await sleep(500)
  await setting.move(pair)
  t.match(await pair.oldSite.event('ended'), { reason: 'deadline' })
  t.match(await pair.newSite.event('ended'), { reason: 'other-site' })
  t.equal(await setting.ask(kFresh[4]), 'here\n', 'the new address works')
})

t.test('the old host is gone', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const pair = await setting.prepared([4], {}, { deadline: '4s' })
  await setting.move(pair)
  await pair.oldSite.kill()
  await setting.sites.a.ip('link', 'set', 'dev', 'uplink', 'down')
  t.equal(await setting.ask(kFresh[4]), 'here\n', 'the new address works')
  t.match(await pair.newSite.event('ended'), { reason: 'deadline' })
  t.equal(await setting.ask(kFresh[4]), 'here\n', 'and so it does without the tunnel')
})

t.test('a narrower link on the way: large transfers that were open go on', { skip }, async (t) => {
  const setting = await Setting.make(t)
  await narrowLink(setting)
  await transfersGoOn(t, setting, await setting.prepared([4, 6]))
})
