// The machine's name, at a real name server: the TTL is lowered ahead, new clients come to the new
// address, the TTL is what it was at the end; and a server that refuses, or is late.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'

import { dyndns2, rfc2136 } from '../../lib/index.js'
import { Client } from '../../testbed/clients/clients.js'
import { NameServer } from '../../testbed/sites/name-server.js'
import { missing, Setting } from '../../testbed/sites/setting.js'
import { kFresh, kMachine, kName, kNames } from '../../testbed/sites/sites.js'

const skip = await missing()

interface Resolved { addresses: string[] }

async function withNames (t: Test): Promise<{ setting: Setting, names: NameServer, dns: object }> {
  const setting = await Setting.make(t)
  const names = await NameServer.start(setting.sites, setting.folder)
  t.teardown(() => names.stop())
  const dns = {
    kind: 'rfc2136',
    name: kName,
    address: [kFresh[4], kFresh[6]],
    server: kNames,
    keyFile: names.keyFile,
    ttl: 1,
    timeout: '1s'
  }
  return { setting, names, dns }
}

t.test('new clients come to the new address', { skip }, async (t) => {
  const { setting, names, dns } = await withNames(t)
  const { sites } = setting
  t.equal(await names.records('A'), `20 ${kMachine[4]}`)
  const pair = await setting.prepared([4, 6], { dns, quiet: '1s' })
  t.equal(await names.records('A'), `1 ${kMachine[4]}`, 'the TTL is lowered')
  t.equal(await names.records('AAAA'), `1 ${kMachine[6]}`)
  const client = (cache: string) => new Client<Resolved>(
    sites.client.name, 'resolve', [kNames, kName, '50', cache], 50, new URL('../../testbed/sites/programs/', import.meta.url))
  const [honest, lazy] = [client('1'), client('4')]
  t.teardown(() => Promise.all([honest.kill(), lazy.kill()]))
  await sleep(2000)
  await setting.move(pair)
  t.match(await pair.oldSite.event('name'), { error: null })
  t.equal(await names.records('A'), `1 ${kFresh[4]}`)
  t.equal(await names.records('AAAA'), `1 ${kFresh[6]}`)
  await sleep(8000)
  for (const [name, seen] of [['honest', await honest.stop()], ['lazy', await lazy.stop()]] as const) {
    t.equal(seen.failed, 0, `${name}: none failed`)
    const first = seen.addresses.indexOf(kFresh[4])
    t.ok(first > 0, `${name}: comes to the new address`)
    t.notOk(seen.addresses.includes(kMachine[4], first), `${name}: and stays there`)
    t.comment(`${name}: ${seen.addresses.length} clients, ${first} at the old address`)
  }
  t.match(await pair.oldSite.event('ended'), { reason: 'unused' })
  t.equal(await names.records('A'), `20 ${kFresh[4]}`, 'the TTL is what it was')
  t.equal(await names.records('AAAA'), `20 ${kFresh[6]}`)
  t.equal(await sites.wrongSources(), 0)
})

t.test('the machine stays: the name is as it was', { skip }, async (t) => {
  const { setting, names, dns } = await withNames(t)
  const pair = await setting.prepared([4, 6], { dns })
  t.equal(await names.records('A'), `1 ${kMachine[4]}`)
  t.equal(await pair.oldSite.call('undo'), null)
  t.equal(await names.records('A'), `20 ${kMachine[4]}`)
  t.equal(await names.records('AAAA'), `20 ${kMachine[6]}`)
})

t.test('a server that refuses is known before the start', { skip }, async (t) => {
  const { setting, names, dns } = await withNames(t)
  const before = await setting.network('a')
  const refusals: Array<[name: string, options: object, expected: object]> = [
    ['a key that it does not know', { keyFile: names.otherKey }, { code: 'NETWORK', message: /BADKEY/ }],
    ['a wrong secret', { keyFile: names.wrongKey }, { code: 'NETWORK', message: /BADSIG/ }],
    ['no key', { keyFile: undefined }, { code: 'NETWORK', message: /REFUSED/ }],
    ['a key that is not there', { keyFile: '/nowhere' }, { code: 'NETWORK', message: /nowhere/ }],
    ['a zone that is not its own', { zone: 'other.test' }, { code: 'NETWORK', message: /NOTAUTH|NOTZONE/ }],
    ['a zone that nobody may change', { name: 'www.closed.test' }, { code: 'NETWORK', message: /REFUSED/ }],
    ['a name that it does not have', { name: 'no.example.test' }, { code: 'NETWORK', message: /ENOTFOUND/ }],
    ['a name with another address', { name: 'ns.example.test' },
      { code: 'NETWORK', message: /does not have 10\.10\.0\.10 but 10\.40\.0\.2/ }],
    ['nobody at that port', { server: `${kNames}:54` }, { code: 'UNREACHABLE' }],
    ['nobody at that address', { server: '10.40.0.99' }, { code: /TIMEOUT|UNREACHABLE|NETWORK/ }]
  ]
  for (const [name, options, expected] of refusals) {
    const site = setting.site('a', { ...setting.oldOptions(), dns: { ...dns, ...options } })
    t.match(await site.call('prepare'), expected, name)
    await site.kill()
  }
  t.equal(await setting.network('a'), before, 'nothing is left')
  t.equal(await names.records('A'), `20 ${kMachine[4]}`)
  names.hang()
  const site = setting.site('a', { ...setting.oldOptions(), dns })
  t.match(await site.call('prepare'), { code: 'TIMEOUT' }, 'no answer')
  names.goOn()
  t.equal(await setting.network('a'), before, 'nothing is left')
})

t.test('a server that is late at the switchover', { skip }, async (t) => {
  const { setting, names, dns } = await withNames(t)
  const pair = await setting.prepared([4, 6], { dns, quiet: '100ms' })
  names.hang()
  await setting.sites.plug('b')
  const answers = await Promise.all([pair.oldSite.call('switchOver'), pair.newSite.call('switchOver')])
  t.same(answers, [null, null], 'the switchover is none the worse for it')
  t.match(await pair.oldSite.event('name'), { error: { code: 'TIMEOUT', owner: 'destination' } }, 'it is told')
  t.equal(await setting.ask(kMachine[4]), 'here\n', 'clients that have the old address arrive')
  t.notOk(pair.oldSite.lines.some(({ event }) => event === 'ended'), 'through the tunnel, which stays')
  names.goOn()
  t.match(await pair.oldSite.event('name', ({ error }) => error === null), {}, 'it is tried again')
  t.equal(await names.records('A'), `1 ${kFresh[4]}`)
  t.match(await pair.oldSite.event('ended'), { reason: 'unused' })
  t.equal(await names.records('A'), `20 ${kFresh[4]}`)
})

t.test('a server that comes back only when the tunnel goes', { skip }, async (t) => {
  const { setting, names, dns } = await withNames(t)
  const pair = await setting.prepared([4, 6], { dns, deadline: '2s' })
  names.hang()
  await setting.move(pair)
  await sleep(2500)
  names.goOn()
  t.match(await pair.oldSite.event('ended'), { reason: 'deadline' })
  t.equal(await names.records('A'), `20 ${kFresh[4]}`, 'the new address alone')
  t.equal(await names.records('AAAA'), `20 ${kFresh[6]}`)
})

/** A service that speaks dyndns2, for one user. */
async function service (
  t: Test
): Promise<{ url: string, requests: string[], answers: string[] }> {
  const [requests, answers]: [string[], string[]] = [[], []]
  const server = createServer((request, response) => {
    if (request.method === 'HEAD') return void response.end()
    const login = Buffer.from(request.headers.authorization?.split(' ')[1] ?? '', 'base64').toString()
    requests.push(`${login} ${request.url}`)
    const answer = login === 'me:secret' ? answers.shift() ?? 'good' : 'badauth'
    if (answer !== 'silence') response.end(answer)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/nic/update`, requests, answers }
}

t.test('dyndns2', async (t) => {
  const { url, requests, answers } = await service(t)
  const folder = mkdtempSync(join(tmpdir(), 'dyndns-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const passwordFile = join(folder, 'password')
  writeFileSync(passwordFile, 'secret\n')
  const address = [kFresh[4], kFresh[6]]
  const options = { name: 'web.example', address, url, user: 'me', passwordFile, timeout: '300ms' }
  const names = dyndns2(options)
  await names.prepare([kMachine[4]])
  t.same(requests, [], 'nothing is changed ahead')
  await names.switchOver()
  t.same(requests, ['me:secret /nic/update?hostname=web.example&myip=10.20.0.10%2Cfd20%3A%3A10'])
  t.equal(names.staleMs, 300_000)
  await names.undo()
  t.match(requests[1], /myip=10\.10\.0\.10$/)
  t.notMatch(JSON.stringify(names.state()), readFileSync(passwordFile, 'utf8').trim(), 'no secret in the state')

  for (const [answer, code, message] of [
    ['badauth', 'NETWORK', /wrong user or password/], ['nohost', 'NETWORK', /none of this account/],
    ['911', 'NETWORK', /out of order/], ['<html>', 'NETWORK', /refuses/], ['silence', 'TIMEOUT', /in time/]
  ] as const) {
    answers.push(answer)
    await t.rejects(names.switchOver(), { code, message }, answer)
  }
  answers.push('nochg 10.20.0.10')
  await names.switchOver()
  const nobody = dyndns2({ ...options, url: 'http://127.0.0.1:1/' })
  await t.rejects(nobody.prepare([]), { code: 'UNREACHABLE' })
  const unread = dyndns2({ ...options, passwordFile: '/nowhere' })
  await t.rejects(unread.prepare([]), { code: 'NETWORK', message: /nowhere/ })
})

t.test('nonsense', async (t) => {
  const good = { name: kName, address: kFresh[4], server: kNames }
  for (const [message, options] of [
    [/dns\.name/, { name: 'a b' }], [/dns\.name/, { name: 'a\nsend' }], [/dns\.server/, { server: 'ns.example' }],
    [/dns\.address/, { address: 'x' }], [/dns\.ttl/, { ttl: 'x' }], [/dns\.zone/, { zone: 'x;y' }]
  ] as const) {
    t.throws(() => rfc2136({ ...good, ...options }), { code: 'INVALID', message })
  }
  t.throws(() => dyndns2({ ...good, url: 'ftp://x/', user: 'a', passwordFile: 'b' }), { code: 'INVALID' })
  t.throws(() => dyndns2({ ...good, url: 'https://x/', user: '', passwordFile: 'b' }), { code: 'INVALID' })
})
