// One file for both sites: what each of them makes of it.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'

import { redirect } from '../../lib/index.js'
import { optionsIn, readRedirectFile } from '../../lib/network/redirect/file.js'

const kKeys = { old: `${'A'.repeat(43)}=`, new: `${'B'.repeat(43)}=` }
const kFile = {
  address: '198.51.100.10',
  deadline: '1h',
  old: {
    host: '198.51.100.2',
    device: 'br0',
    quiet: '5m',
    privateKey: 'key',
    publicKey: kKeys.old
  },
  new: {
    host: '203.0.113.2',
    device: 'br1',
    address: '203.0.113.10',
    gateway: '198.51.100.1',
    privateKey: '/etc/key',
    publicKey: kKeys.new
  },
  tunnel: { kind: 'wireguard', mtu: 1400 },
  dns: { kind: 'rfc2136', name: 'www.example.org', server: '192.0.2.53', keyFile: 'dns.key' }
}

t.test('both sites', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'redirect-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'web.json')
  writeFileSync(path, JSON.stringify(kFile))
  const file = await readRedirectFile(path)
  const [old, fresh] = [optionsIn(file, 'old'), optionsIn(file, 'new')]
  t.match(old, {
    role: 'old',
    address: '198.51.100.10',
    device: 'br0',
    quiet: '5m',
    deadline: '1h',
    tunnel: {
      kind: 'wireguard',
      mtu: 1400,
      local: '198.51.100.2',
      remote: '203.0.113.2',
      wireguard: { privateKey: join(folder, 'key'), peerKey: kKeys.new }
    }
  })
  t.match(fresh, {
    role: 'new',
    device: 'br1',
    newAddress: '203.0.113.10',
    gateway: '198.51.100.1',
    tunnel: {
      local: '203.0.113.2',
      remote: '198.51.100.2',
      wireguard: { privateKey: '/etc/key', peerKey: kKeys.old }
    }
  })
  t.equal(redirect(old).id, redirect(fresh).id, 'they mean the same')
  t.match(old.dns!.state(), {
    options: { address: '203.0.113.10', keyFile: join(folder, 'dns.key') }
  }, 'the name gets the new address')
  t.equal(fresh.dns, undefined, 'at one site only')
})

t.test('the name at the new site', async (t) => {
  const file = { ...kFile, dns: { ...kFile.dns, site: 'new', address: '203.0.113.9' } } as never
  t.equal(optionsIn(file, 'old').dns, undefined)
  t.match(optionsIn(file, 'new').dns!.state(), { options: { address: '203.0.113.9' } })
})

/** A file for a tunnel of the kind tun with these keys. */
function tunFile (t: Test, oldTls: unknown, newTls: unknown): string {
  const folder = mkdtempSync(join(tmpdir(), 'redirect-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'web.json')
  writeFileSync(path, JSON.stringify({
    address: '198.51.100.10',
    old: { host: '198.51.100.2', device: 'br0', tls: oldTls },
    new: { host: '203.0.113.2', device: 'br1', tls: newTls },
    tunnel: { kind: 'tun' }
  }))
  return path
}

t.test('keys of a tunnel of the kind tun', async (t) => {
  const certificates = { certificate: 'a.pem', key: '/etc/a.key', ca: 'ca.pem', peer: ['b', 'c'] }
  const path = tunFile(t, { psk: { keyFile: 'keys.psk', identity: 'ferry' } }, certificates)
  const [file, folder] = [await readRedirectFile(path), dirname(path)]
  const [old, fresh] = [optionsIn(file, 'old'), optionsIn(file, 'new')]
  t.same(old.tunnel.tls, { psk: { keyFile: join(folder, 'keys.psk'), identity: 'ferry' } })
  t.same(fresh.tunnel.tls, {
    ...certificates, certificate: join(folder, 'a.pem'), ca: join(folder, 'ca.pem')
  })
  t.equal(redirect(old).id, redirect(fresh).id, 'they mean the same')
  const plain = await readRedirectFile(tunFile(t, false, false))
  t.same([optionsIn(plain, 'old').tunnel.tls, optionsIn(plain, 'new').tunnel.tls], [false, false])
})

t.test('keys that make no sense', async (t) => {
  for (const [message, tls] of [
    [/tls: tunnel\.remote is 203\.0\.113\.2, not this host's/, undefined],
    [/tls: must be false/, true],
    [/tls: must be false/, null],
    [/tls: must be false/, 'keys.psk'],
    [/tls\.psk\.keyFile: must be a path/, { psk: {} }],
    [/tls\.psk\.keyFile: must be a path/, { psk: { keyFile: 5 } }],
    [/tls\.psk\.colour: no such option/, { psk: { keyFile: 'keys', colour: 1 } }],
    [/tls\.ca: must be left out/, { psk: { keyFile: 'keys' }, ca: 'ca.pem' }],
    [/tls\.key: must be a path/, { certificate: 'a.pem', ca: 'ca.pem' }],
    [/tls\.peer: must be a name/, { certificate: 'a.pem', key: 'a.key', ca: 'ca.pem', peer: [] }]
  ] as const) {
    const file = await readRedirectFile(tunFile(t, tls, false))
    t.throws(() => optionsIn(file, 'old'), { code: 'INVALID', message }, JSON.stringify(tls))
    t.equal(optionsIn(file, 'new').tunnel.tls, false, 'each site needs its own')
  }
})

t.test('what is no file of this kind', async (t) => {
  await t.rejects(readRedirectFile('/nowhere'), { code: 'INVALID', message: /nowhere/ })
  for (const [message, change] of [
    [/redirect\.colour/, { colour: 1 }], [/new: must be/, { new: null }],
    [/belongs to the other site/, { old: { ...kFile.old, by: 'nat' } }],
    [/tunnel\.local/, { old: { device: 'br0' } }]
  ] as const) {
    t.throws(() => optionsIn({ ...kFile, ...change } as never, 'old'), { code: 'INVALID', message })
  }
})
