// What can't work is refused before anything is changed, with a word on what to do; and what a
// failure leaves is nothing.
import { readdirSync } from 'node:fs'
import t from 'tap'

import { redirect } from '../../lib/index.js'
import type { RedirectOptions } from '../../lib/index.js'
import { missing, Setting } from '../../testbed/sites/setting.js'
import { kFresh, kHostA, kHostB, kMachine } from '../../testbed/sites/sites.js'

const skip = await missing()

t.test('at the sites', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const { sites } = setting
  const before = { a: await setting.network('a'), b: await setting.network('b') }

  const refused = async (place: 'a' | 'b', options: object, expected: object, name: string) => {
    const site = setting.site(place, {
      ...(place === 'a' ? setting.oldOptions() : setting.newOptions()), ...options
    })
    t.match(await site.call('prepare'), expected, name)
    t.equal(await setting.network(place), before[place], `${name}: nothing has changed`)
    t.same(readdirSyncOrNone(setting.state(place)), [], `${name}: nothing is in the list`)
    await site.kill()
  }
  const tunnel = { local: kHostA[4], remote: kHostB[4] }

  for (const kind of ['ipip', 'gre', 'wireguard']) {
    const keys = { wireguard: { privateKey: '/nowhere', peerKey: `${'A'.repeat(43)}=` } }
    const options = { tunnel: { ...tunnel, kind, ...(kind === 'wireguard' ? keys : {}) } }
    const [has] = await hasKind(sites.a.name, kind)
    if (has) continue
    const expected = { code: 'UNSUPPORTED', message: new RegExp(kind) }
    await refused('a', options, expected, `${kind}, which the kernel lacks`)
  }
  await refused('a', { device: 'nowhere' }, { code: 'NETWORK', message: /no device nowhere/ }, 'no such device')
  await refused('a', { tunnel: { ...tunnel, local: '10.10.0.9' } },
    { code: 'NETWORK', message: /no address of this host/ }, 'somebody else’s address')
  await refused('a', { address: kHostA[4] }, { code: 'ADDRESS_IN_USE' }, 'the host’s own address')

  await refused('b', { newAddress: kHostB[4] },
    { code: 'ADDRESS_IN_USE', message: /this host's lan/ }, 'the new address is this host’s')
  await refused('b', { newAddress: '10.20.0.1' },
    { code: 'ADDRESS_IN_USE', message: /10\.20\.0\.1 is in use: it is at .* on lan/ },
    'the new address is a neighbour’s')

  await sites.a.run('sysctl', '-qw', 'net.ipv4.conf.lan.forwarding=0')
  await refused('a', {}, { code: 'NETWORK', message: /sysctl -w net\/ipv4\/conf\/lan\/forwarding=1/ },
    'a host that does not forward')
  await sites.a.run('sysctl', '-qw', 'net.ipv4.conf.lan.forwarding=1')

  await sites.a.ip('route', 'delete', 'default')
  const noRoute = setting.site('a', setting.oldOptions())
  t.match(await noRoute.call('prepare'), { code: 'UNREACHABLE' })
  await noRoute.kill()
  await sites.a.ip('route', 'add', 'default', 'via', '10.10.0.1')

  await sites.a.ip('link', 'set', 'dev', 'lan', 'mtu', '1300')
  const narrow = setting.site('a', setting.oldOptions())
  t.match(await narrow.call('prepare'), { code: 'NETWORK', message: /packets of 1300 bytes .* leave 1250/ })
  await narrow.kill()
  await sites.a.ip('link', 'set', 'dev', 'lan', 'mtu', '1500')
})

function readdirSyncOrNone (folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

async function hasKind (namespace: string, kind: string): Promise<[boolean]> {
  const { tryRun } = await import('../../testbed/support/command.js')
  const args = ['netns', 'exec', namespace, 'unshare', '-n', 'ip', 'link', 'add', 'name', 'x', 'type', kind]
  return [await tryRun('ip', ...args) !== undefined]
}

t.test('the other site does not answer', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const before = await setting.network('a')
  const site = setting.site('a', setting.oldOptions())
  t.equal(await site.call('prepare'), null)
  t.match(await site.call('verify'), { code: 'UNREACHABLE', message: /through the tunnel/ })
  t.equal(await site.call('undo'), null)
  t.equal(await setting.network('a'), before)
})

t.test('a second one of the same', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const first = setting.site('a', setting.oldOptions())
  t.equal(await first.call('prepare'), null)
  const before = await setting.network('a')
  const second = setting.site('a', setting.oldOptions())
  t.match(await second.call('prepare'), { code: 'NETWORK', message: /exists here already.*--remove/ })
  t.equal(await setting.network('a'), before, 'the first is unharmed')
  t.equal(await first.call('undo'), null)
})

t.test('the user’s own rules stay, and so do their marks and tables', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const { a } = setting.sites
  await a.run('nft', 'table inet mine {\nchain forward {\ntype filter hook forward priority 0; policy accept\n' +
    'ct state invalid counter\n}\n}')
  await a.ip('rule', 'add', 'from', '192.0.2.1', 'lookup', '7400', 'pref', '7400')
  const before = await setting.network('a')
  const site = setting.site('a', setting.oldOptions())
  t.equal(await site.call('prepare'), null)
  t.equal(await site.call('switchOver'), null)
  t.match(await a.ip('rule'), /7404:\s+from all to 10\.10\.0\.10 lookup 7404/)
  t.equal(await site.call('undo'), null)
  t.equal((await setting.network('a')).replace(/packets \d+ bytes \d+/, ''),
    before.replace(/packets \d+ bytes \d+/, ''))
})

t.test('without permission', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const { a } = setting.sites
  const code = `
    const { redirect } = await import('${new URL('../../lib/index.js', import.meta.url).href}')
    const site = redirect(${JSON.stringify(setting.oldOptions())})
    await site.prepare().then(() => console.log('none'), ({ code }) => console.log(code))`
  const command = [process.execPath, '--input-type=module', '-e', code]
  const drop = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin', '--']
  t.equal((await a.run(...drop, ...command)).trim(), 'NO_PERMISSION')
})

const kGood: RedirectOptions = {
  role: 'new',
  address: kMachine[4],
  device: 'lan',
  tunnel: { local: kHostB[4], remote: kHostA[4] },
  newAddress: kFresh[4]
}

const kNonsense: Array<[words: RegExp, options: object]> = [
  [/role/, { role: 'middle' }],
  [/address/, { address: '10.0.0.0/8' }],
  [/address/, { address: ['10.0.0.1', '10.0.0.2'] }],
  [/device/, { device: 'a b' }],
  [/device/, { device: 'lan\nroute flush table main' }],
  [/tunnel\.remote/, { tunnel: { local: '10.0.0.1', remote: 'fd00::1' } }],
  [/tunnel\.remote/, { tunnel: { local: '10.0.0.1', remote: '10.0.0.1' } }],
  [/tunnel\.mtu/, { tunnel: { ...kGood.tunnel, mtu: 576 } }],
  [/tunnel\.kind/, { tunnel: { ...kGood.tunnel, kind: 'pigeon' } }],
  [/peerKey/, { tunnel: { ...kGood.tunnel, wireguard: { privateKey: '/x', peerKey: 'short' } } }],
  [/newAddress/, { newAddress: 'fd00::1' }],
  [/newAddress/, { newAddress: kMachine[4] }],
  [/quiet: belongs to the other site/, { quiet: '1s' }],
  [/newAddress: belongs to the other site/, { role: 'old' }],
  [/poll/, { role: 'old', newAddress: undefined, poll: 1 }],
  [/deadline/, { deadline: 'soon' }],
  [/options\.speed/, { speed: 1 }]
]

t.test('nonsense', async (t) => {
  t.equal(redirect(kGood).id.length, 6)
  for (const [message, options] of kNonsense) {
    t.throws(() => redirect({ ...kGood, ...options }), { code: 'INVALID', message })
  }
  const other = redirect({
    role: 'old', address: kMachine[4], device: 'br0', tunnel: { local: kHostA[4], remote: kHostB[4] }
  })
  t.equal(other.id, redirect(kGood).id, 'the same at both sites')
})
