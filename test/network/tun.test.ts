// The tunnel of the kind tun: TCP between the two processes that look after the redirection, with
// TLS or plain. Its connection is cut, its processes are killed, strangers come to its port.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'

import { redirect } from '../../lib/index.js'
import { Client, type Echoed } from '../../testbed/clients/clients.js'
import { Command } from '../../testbed/guests/moving-guest.js'
import { Authority, pskFile } from '../support/keys.js'
import { connectionsGoOn, narrowLink, transfersGoOn } from './connections-go-on.js'
import { kNewSite, kOldSite, redirectAt } from './redirect-command.js'
import { kLook, missing, Setting } from '../../testbed/sites/setting.js'
import type { TunnelOf } from '../../testbed/sites/setting.js'
import { kFresh, kHostA, kHostB, kMachine } from '../../testbed/sites/sites.js'

const skip = await missing()
const kPort = 4792

const plain: TunnelOf = () => ({ kind: 'tun', tls: false })

/** Options with a pre-shared key: the same at both sites, unless the old one's is another. */
function withKey (t: Test, oldKey = 'a'): TunnelOf {
  const folder = mkdtempSync(join(tmpdir(), 'keys-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return (role) => {
    const keyFile = join(folder, role)
    writeFileSync(keyFile, `ferry:${(role === 'old' ? oldKey : 'a').repeat(64)}\n`, { mode: 0o600 })
    return { kind: 'tun', tls: { psk: { keyFile } } }
  }
}

function echoTo (t: Test, setting: Setting, family: 4 | 6): Client<Echoed> {
  const words = [kMachine[family], '7', '20']
  const echo = new Client<Echoed>(setting.sites.client.name, 'echo', words, 20)
  t.teardown(() => echo.kill())
  return echo
}

for (const family of [4, 6] as const) {
  t.test(`old connections go on, new ones arrive, IPv${family}, with TLS`, { skip }, async (t) => {
    await connectionsGoOn(t, family, withKey(t))
  })
}

t.test('IPv6 between the hosts, and plain', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const options = (local: string, remote: string) => (
    { tunnel: { kind: 'tun', tls: false, port: 7000, local, remote } })
  const pair = await setting.prepared(
    [4, 6], options(kHostA[6], kHostB[6]), options(kHostB[6], kHostA[6]))
  const echoes = ([4, 6] as const).map((family) => echoTo(t, setting, family))
  await sleep(500)
  await setting.move(pair)
  for (const family of [4, 6] as const) {
    t.equal(await setting.upload(kMachine[family], 3e7), 3e7, 'a large transfer')
  }
  for (const echo of echoes) t.match(await echo.stop(), { wrong: 0, broken: 0, failed: 0 })
  t.match(await pair.oldSite.event('ended'), { reason: 'unused' })
  t.match(await pair.newSite.event('ended'), { reason: 'other-site' })
})

/** Nothing of the tunnel's connection gets through the router any more. */
async function cut (setting: Setting): Promise<void> {
  const chain = 'type filter hook forward priority -1; policy accept'
  const ports = ['dport', 'sport'].map((side) => `tcp ${side} ${kPort} drop`).join('\n')
  await setting.sites.router.run('nft', `table inet cut {\nchain drops {\n${chain}\n${ports}\n}\n}`)
}

t.test('the connection is cut, and comes back', { skip }, async (t) => {
  const setting = await Setting.make(t, withKey(t))
  const pair = await setting.prepared([4], { quiet: '1h' })
  const echo = echoTo(t, setting, 4)
  await sleep(500)
  await setting.move(pair)
  t.equal(await setting.ask(kMachine[4]), 'here\n')
  const from = pair.oldSite.lines.length
  await cut(setting)
  const connection = (isThere: boolean) => (line: any) => (
    line.event === 'connection' && (line.error === null) === isThere)
  t.match((await pair.oldSite.line(connection(false), from)).error, { message: /./ })
  t.equal(await setting.ask(kFresh[4]), 'here\n', 'the new address needs no tunnel')
  await setting.sites.router.run('nft', 'delete', 'table', 'inet', 'cut')
  await pair.oldSite.line(connection(true), from)
  t.equal(await setting.upload(kMachine[4], 2e6), 2e6, 'new connections')
  t.match(await echo.stop(), { wrong: 0, broken: 0, failed: 0 }, 'and those of before')
  t.equal(await pair.oldSite.call('undo'), null)
})

t.test('both processes are killed, others go on', { skip }, async (t) => {
  const setting = await Setting.make(t, withKey(t))
  const before = await setting.network('a')
  const pair = await setting.prepared([4])
  const echo = echoTo(t, setting, 4)
  await sleep(500)
  await setting.move(pair)
  const { id } = await pair.oldSite.event('prepared')
  for (const site of [pair.oldSite, pair.newSite]) await site.kill()
  t.equal(await setting.ask(kFresh[4]), 'here\n', 'new clients notice nothing')
  t.match(await setting.sites.a.ip('-d', 'link', 'show', 'dev', `ferry-${id}`), /tun.*persist on/)
  const [b, a] = (['b', 'a'] as const).map((place) => {
    const args = ['redirect', '--state', setting.state(place), '--watch', id]
    const one = new Command(setting.sites[place].name, args)
    t.teardown(() => one.kill())
    return one
  }) as [Command, Command]
  await a.event('connection', ({ error }) => error === null)
  t.equal(await setting.upload(kMachine[4], 1e6), 1e6, 'the tunnel works')
  t.match(await echo.stop(), { wrong: 0, broken: 0, failed: 0 })
  t.match(await a.event('ended'), { reason: 'unused' })
  t.match(await b.event('ended'), { reason: 'other-site' })
  t.equal(await setting.network('a'), before, 'nothing is left at the old site')
})

t.test('strangers at the port', { skip }, async (t) => {
  const setting = await Setting.make(t, plain)
  const { sites } = setting
  const pair = await setting.prepared([4], { quiet: '1h' })
  const echo = echoTo(t, setting, 4)
  await sleep(500)
  await setting.move(pair)
  // Both a stranger's address and the other site's own.
  const code = `
    const { connect } = require('net')
    const { randomBytes } = require('crypto')
    for (let i = 0; i < 200; i++) {
      const socket = connect(${kPort}, '${kHostB[4]}').on('error', () => {})
      if (i % 2 === 0) socket.write(i % 4 === 0 ? randomBytes(1e5) : 'BFTN\\x01 hello')
    }
    setTimeout(() => process.exit(), 3000)`
  await Promise.all([sites.client, sites.a].map((from) => from.run(process.execPath, '-e', code)))
  t.equal(await setting.upload(kMachine[4], 1e6), 1e6)
  t.match(await echo.stop(), { wrong: 0, broken: 0, failed: 0 })
  const lost = pair.newSite.lines.filter((line: any) => line.event === 'connection' && line.error)
  t.same(lost, [], 'nobody took the connection\'s place')
})

t.test('a narrower link: large transfers that were open go on', { skip }, async (t) => {
  const setting = await Setting.make(t, plain)
  await narrowLink(setting)
  const pair = await setting.prepared([4, 6])
  const { id } = await pair.oldSite.event('prepared')
  const device = await setting.sites.a.ip('link', 'show', 'dev', `ferry-${id}`)
  t.match(device, /mtu 1400/, 'the smaller one')
  await transfersGoOn(t, setting, pair)
})

t.test('two sites that do not fit', { skip }, async (t) => {
  for (const [code, tunnelOf] of [
    ['UNAUTHORIZED', withKey(t, 'b')],
    ['TLS', (role) => role === 'old' ? withKey(t)(role) : plain(role)]
  ] as Array<[string, TunnelOf]>) {
    const setting = await Setting.make(t, tunnelOf)
    const before = await setting.network('a')
    const newSite = setting.site('b', setting.newOptions())
    t.equal(await newSite.call('prepare'), null)
    const oldSite = setting.site('a', setting.oldOptions())
    t.equal(await oldSite.call('prepare'), null)
    t.match(await oldSite.call('verify'), { code })
    t.equal(await oldSite.call('undo'), null)
    t.equal(await setting.network('a'), before, 'nothing is left')
  }
})

t.test('what prepare() refuses', { skip }, async (t) => {
  const setting = await Setting.make(t, plain)
  const before = await setting.network('b')
  const first = setting.site('b', setting.newOptions())
  t.equal(await first.call('prepare'), null)
  const used = await setting.network('b')
  const other = { ...setting.newOptions(), address: '10.10.0.11', newAddress: '10.20.0.11' }
  const second = setting.site('b', { ...other, gateway: undefined })
  t.match(await second.call('prepare'), { code: 'ADDRESS_IN_USE', message: /port 4792/ })
  t.equal(await setting.network('b'), used, 'the first is unharmed')
  t.equal(await first.call('undo'), null)
  t.equal(await setting.network('b'), before, 'nothing is left')
})

t.test('after each change at a site, as if killed', { skip }, async (t) => {
  const setting = await Setting.make(t, plain)
  const program = new URL('./programs/each-step.js', import.meta.url).pathname
  for (const [place, options] of [
    ['a', setting.oldOptions([4, 6])], ['b', setting.newOptions([4, 6])]
  ] as const) {
    const command = [process.execPath, program, JSON.stringify(options), kLook]
    const text = await setting.sites[place].run(...command)
    for (const line of text.trim().split('\n')) {
      const { count, total, asBefore, last } = JSON.parse(line)
      t.ok(asBefore, `${count} of ${total}: ${last.slice(0, 100)}`)
    }
  }
})

t.test('it has to be said how it is protected', async (t) => {
  const tunnel = { kind: 'tun' as const, local: kHostA[4], remote: kHostB[4] }
  const site = { role: 'old' as const, address: kMachine[4], device: 'lan' }
  t.throws(() => redirect({ ...site, tunnel }), { code: 'INVALID', message: /tls: false/ })
  const nonsense = { ...tunnel, tls: { psk: {} } as never }
  t.throws(() => redirect({ ...site, tunnel: nonsense }), { code: 'INVALID', message: /tls\.psk/ })
})

/** Arguments for both sites, each with keys of its own kind. */
const kinds: Array<[string, (folder: string) => Record<'old' | 'new', string[]>]> = [
  ['a pre-shared key', (folder) => {
    const args = ['--tls-psk', pskFile(folder, 'keys', 'ferry', 'other'), '--tls-identity', 'ferry']
    return { old: args, new: args }
  }],
  ['certificates', (folder) => {
    const authority = new Authority(folder)
    const argsOf = (name: string, host: string) => {
      const { certificate, key, ca } = authority.issue(name, [host])
      return ['--tls-cert', certificate, '--tls-key', key, '--tls-ca', ca]
    }
    return { old: argsOf('old', kHostA[4]), new: argsOf('new', kHostB[4]) }
  }]
]

for (const [name, make] of kinds) {
  t.test(`begun from the command line, with ${name}`, { skip }, async (t) => {
    const setting = await Setting.make(t)
    const keys = make(setting.folder)
    const echo = echoTo(t, setting, 4)
    const newSite = redirectAt(t, setting, 'b', ...kNewSite, '--tunnel', 'tun', ...keys.new, '--now')
    await newSite.event('switched')
    const before = await setting.network('a')
    const old = [...kOldSite, '--tunnel', 'tun', '--now']
    const plainOne = redirectAt(t, setting, 'a', ...old, '--plain')
    t.match((await plainOne.event('failed')).error, { code: 'TLS', message: /started without keys/ })
    t.equal(await plainOne.ended, 1)
    t.equal(await setting.network('a'), before, 'nothing is left of that')
    const oldSite = redirectAt(t, setting, 'a', ...old, ...keys.old)
    await oldSite.event('verified')
    await setting.sites.plug('b')
    await oldSite.event('switched')
    t.equal(await setting.ask(kFresh[4]), 'here\n')
    t.equal(await setting.upload(kMachine[4], 2e6), 2e6, 'the tunnel works')
    t.match(await echo.stop(), { wrong: 0, broken: 0, failed: 0 })
    t.match(await oldSite.event('ended'), { reason: 'unused' })
    t.match(await newSite.event('ended'), { reason: 'other-site' })
    t.same([await oldSite.ended, await newSite.ended], [0, 0])
    t.equal(await setting.network('a'), before, 'nothing is left at the old site')
  })
}
