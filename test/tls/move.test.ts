// Disks move over TLS under a writer, with a pre-shared key and with certificates, and nothing of
// them can be read on the wire.
import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import type { Test } from 'tap'
import t from 'tap'

import type { TlsOptions } from '../../lib/index.js'
import { capabilities, migrate } from '../../lib/index.js'
import { hashOf, temporary } from '../../testbed/support/images.js'
import { Authority, psk, pskFile } from '../support/keys.js'
import { makePair } from '../support/pair.js'
import { Sniffer } from '../support/sniffer.js'
import { Writer } from '../../testbed/support/writer.js'

t.equal(capabilities().tls, true, 'the addon was built with TLS')

async function moves (t: Test, source: TlsOptions, destination: TlsOptions): Promise<void> {
  const pair = await makePair(t, 32 << 20, destination)
  const sniffer = await Sniffer.to(pair.receiver.address)
  t.teardown(() => sniffer.close())
  const writer = await Writer.start(pair.socket, 'web', 2048)
  t.teardown(() => writer.stop())
  const migration = migrate({
    disks: [{ source: pair.source }],
    destination: sniffer.address,
    tls: source,
    compression: 'off',
    machine: { pause: () => writer.pause() }
  })
  const report = await migration
  t.equal(report.equal, true)
  t.same(writer.lostIn(pair.target), [], 'no acknowledged write is lost')
  t.equal(await hashOf(pair.target), await hashOf(pair.image))
  const wire = sniffer.heard()
  t.ok(wire.length > 16 << 20, 'the disk went past the eavesdropper')
  const disk = readFileSync(pair.image).subarray(3 << 20)
  for (const [what, bytes] of Object.entries({
    'a frame': Buffer.from('BFRY'), "the disk's name": Buffer.from('"web"'), 'a message': Buffer.from('"type"'),
    'the disk': disk.subarray(0, 32), 'the disk elsewhere': disk.subarray(100_000, 100_032)
  })) t.equal(wire.indexOf(bytes), -1, `nothing of ${what} is on the wire`)
  t.notMatch(inspect(migration, { depth: 9, showHidden: true }), secretsOf(source))
  t.notMatch(inspect(pair.receiver, { depth: 9, showHidden: true }), secretsOf(destination))
}

/** What must not show: the keys in hexadecimal, the body of a PEM file. */
function secretsOf (tls: TlsOptions): RegExp {
  const text = readFileSync('psk' in tls ? tls.psk.keyFile : tls.key, 'utf8')
  const secrets = 'psk' in tls
    ? text.trim().split('\n').map((line) => line.split(':').at(-1)!)
    : text.split('\n').filter((line) => /^[A-Za-z0-9+/=]{40,}$/.test(line))
  return new RegExp(secrets.map((secret) => secret.replaceAll('+', '\\+')).join('|'))
}

t.test('with a pre-shared key', async (t) => {
  const file = pskFile(temporary(t), 'keys.psk', 'alice')
  await moves(t, psk(file), psk(file))
})

t.test('with one of several pre-shared keys', async (t) => {
  const file = pskFile(temporary(t), 'keys.psk', 'alice', 'bob', 'ann:with a colon')
  await moves(t, psk(file, 'ann:with a colon'), psk(file))
})

t.test('with certificates for addresses and names', async (t) => {
  const ca = new Authority(temporary(t))
  const host = ca.issue('host', ['127.0.0.1'])
  const source = ca.issue('source', ['source.example'])
  await moves(t, source, { ...host, peer: ['other.example', 'source.example'] })
})

t.test('with a certificate for a name that the source was told of', async (t) => {
  const ca = new Authority(temporary(t))
  const host = ca.issue('host', ['host.example'])
  await moves(t, { ...ca.issue('source', []), peer: 'host.example' }, host)
})

t.test('goes on after the link was lost', async (t) => {
  const file = pskFile(temporary(t), 'keys.psk', 'alice')
  const pair = await makePair(t, 64 << 20, psk(file))
  const sniffer = await Sniffer.to(pair.receiver.address)
  t.teardown(() => sniffer.close())
  const migration = migrate({
    disks: [{ source: pair.source }],
    destination: sniffer.address,
    tls: psk(file),
    streams: 8,
    compression: 'off',
    budgets: { bandwidth: '100MB/s' }
  })
  let lost: string | null = null
  migration.on('started', () => sniffer.cut())
  migration.on('reconnecting', ({ error }) => {
    lost = error.code
    sniffer.restore()
  })
  const report = await migration
  t.equal(report.equal, true)
  t.equal(lost, 'PEER_GONE')
  t.equal(await hashOf(pair.target), await hashOf(pair.image))
})
