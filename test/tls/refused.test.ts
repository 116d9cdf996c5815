// Whoever is not who it has to be gets no further, says why, and leaves the source as it was.
import { chmodSync, copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import type { Test } from 'tap'
import t from 'tap'

import type { TlsOptions } from '../../lib/index.js'
import { migrate, NbdServer, receive, recover } from '../../lib/index.js'
import { temporary } from '../../testbed/support/images.js'
import { Authority, psk, pskFile } from '../support/keys.js'
import type { Pair } from '../support/pair.js'
import { makePair } from '../support/pair.js'
import { failureOf, writesOn } from '../support/unharmed.js'
import { Writer } from '../../testbed/support/writer.js'

const folder = temporary(t)
const keys = pskFile(folder, 'keys.psk', 'alice', 'bob')
const otherKeys = pskFile(folder, 'other.psk', 'alice', 'carol')
const ca = new Authority(folder)
const otherCa = new Authority(folder, 'other-ca')
const host = ca.issue('host', ['127.0.0.1'])
const source = ca.issue('source', ['source.example'])
const trustingOther = { ca: otherCa.certificate }

interface Case {
  source?: TlsOptions
  destination?: TlsOptions
  code: string
  words: RegExp
  /** What the receiver tells of it. Default: the same code. */
  told?: string
}

const kCases: Record<string, Case> = {
  'a wrong key': {
    source: psk(otherKeys, 'alice'), destination: psk(keys), code: 'UNAUTHORIZED', words: /pre-shared key/
  },
  'an identity that is not known': {
    source: psk(otherKeys, 'carol'), destination: psk(keys), code: 'UNAUTHORIZED', words: /key or its identity/
  },
  'an identity that is not welcome': {
    source: psk(keys, 'alice'), destination: psk(keys, 'bob'), code: 'UNAUTHORIZED', words: /key or its identity/
  },
  'a key for a certificate': {
    source: psk(keys, 'alice'), destination: host, code: 'UNAUTHORIZED', words: /no common kind of key/
  },
  'a certificate for a key': {
    source, destination: psk(keys), code: 'UNAUTHORIZED', words: /no common kind of key|pre-shared/
  },
  'a destination of an unknown CA': {
    source: { ...source, ...trustingOther }, destination: host, code: 'UNAUTHORIZED', words: /CA that we trust/
  },
  'a source of an unknown CA': {
    source, destination: { ...host, ...trustingOther }, code: 'UNAUTHORIZED', words: /not accept our certificate.*CA/
  },
  'a destination whose certificate has expired': {
    source, destination: ca.issueExpired('old-host', ['127.0.0.1']), code: 'UNAUTHORIZED', words: /certificate has expired/
  },
  'a source whose certificate has expired': {
    source: ca.issueExpired('old-source', []), destination: host, code: 'UNAUTHORIZED', words: /not accept.*expired/
  },
  'a destination with another name': {
    source, destination: ca.issue('elsewhere', ['host.example', '127.0.0.2']), code: 'UNAUTHORIZED',
    words: /another name than 127\.0\.0\.1/
  },
  'a destination without the name that was given': {
    source: { ...source, peer: 'host.example' }, destination: host, code: 'UNAUTHORIZED', words: /than host\.example/
  },
  'a source that is not allowed': {
    source, destination: { ...host, peer: ['other.example'] }, code: 'UNAUTHORIZED', words: /name in our certificate/
  },
  'a plain source': { destination: psk(keys), code: 'TLS', words: /does not speak TLS/ },
  'a plain destination': { source: psk(keys, 'alice'), code: 'TLS', words: /does not speak TLS/, told: 'PROTOCOL' }
}

for (const [name, { source, destination, code, words, told = code }] of Object.entries(kCases)) {
  t.test(name, async (t) => {
    const pair = await makePair(t, 4 << 20, destination)
    const writer = await Writer.start(pair.socket, 'web', 256)
    t.teardown(() => writer.stop())
    const refused = new Promise((resolve) => pair.receiver.on('refused', resolve))
    const events: string[] = []
    pair.receiver.on('started', () => events.push('started'))
    const migration = migrate({
      disks: [{ source: pair.source }], destination: pair.receiver.address, ...(source !== undefined && { tls: source })
    })
    migration.on('reconnecting', () => events.push('reconnecting'))
    const error = await failureOf(migration)
    t.match(error, { code, owner: 'source', message: words })
    t.notMatch(inspect(error), /[0-9a-f]{64}|PRIVATE/)
    const event = await refused
    t.match(event, { host: '127.0.0.1', port: Number, error: { code: told }, total: 1 })
    t.notMatch(inspect(event), /[0-9a-f]{64}|PRIVATE/)
    t.same(events, [], 'nothing was begun, and it was not taken for a lost link')
    await checkSourceGoesOn(t, pair, writer)
  })
}

async function checkSourceGoesOn (t: Test, pair: Pair, writer: Writer): Promise<void> {
  t.equal(pair.source.state, 'open')
  await writesOn(t, writer)
}

t.test('files that are missing, for others to read, or nonsense', async (t) => {
  const wide = join(folder, 'wide.psk')
  copyFileSync(keys, wide)
  chmodSync(wide, 0o644)
  const wideKey = join(folder, 'wide.key')
  copyFileSync(host.key, wideKey)
  chmodSync(wideKey, 0o640)
  const junk = join(folder, 'junk')
  writeFileSync(junk, 'this is no key\n', { mode: 0o600 })
  const cases: Array<[TlsOptions, string, RegExp]> = [
    [psk(join(folder, 'none')), 'NOT_FOUND', /tls\.psk\.keyFile: .*none/],
    [psk(wide), 'NO_PERMISSION', /wide\.psk.*0644.*chmod 600/],
    [psk(junk), 'INVALID', /line 1 of .*junk/],
    [psk(folder), 'IS_DIRECTORY', /keyFile/],
    [psk(keys, 'nobody'), 'INVALID', /tls\.psk\.identity.*nobody/],
    [{ ...host, certificate: join(folder, 'none') }, 'NOT_FOUND', /tls\.certificate: .*none/],
    [{ ...host, ca: join(folder, 'none') }, 'NOT_FOUND', /tls\.ca: .*none/],
    [{ ...host, key: wideKey }, 'NO_PERMISSION', /tls\.key.*0640/],
    [{ ...host, certificate: junk }, 'INVALID', /tls\.certificate/],
    [{ ...host, ca: junk }, 'INVALID', /tls\.ca/],
    [{ ...host, key: source.key }, 'INVALID', /tls\.certificate and tls\.key/]
  ]
  for (const [tls, code, message] of cases) {
    const options = { disks: [{ destination: join(folder, 'x') }], tls }
    t.match(await failureOf(receive(options)), { code, message })
    const migration = migrate({ disks: [{ source: junk }], destination: '127.0.0.1:1', tls })
    t.match(await failureOf(migration), { code, message, owner: 'source' })
  }
  const several = migrate({ disks: [{ source: host.certificate }], destination: '127.0.0.1:1', tls: psk(keys) })
  t.match(await failureOf(several), { code: 'INVALID', message: /^tls\.psk\.identity: is needed/ })
})

t.test('beyond the loopback nothing is plain without a word', async (t) => {
  for (const address of ['0.0.0.0:0', '[::]:0', '192.0.2.1:0', 'localhost.example:0', '127.1:0']) {
    const disks = [{ destination: join(folder, 'x') }]
    t.match(await failureOf(receive({ disks, listen: address })), { code: 'INVALID', message: /^tls: listen/ })
    const migration = migrate({ disks: [{ source: 'x' }], destination: address.replace(/0$/, '9') })
    t.match(await failureOf(migration), { code: 'INVALID', message: /^tls: destination/ })
    await using server = new NbdServer()
    await t.rejects(server.listen(`tcp:${address}`), { code: 'INVALID', message: /^plain: / })
  }
  for (const listen of ['127.0.0.1:0', '[::1]:0', 'localhost:0', '127.9.9.9:0']) {
    const receiver = await receive({ disks: [{ destination: join(folder, 'x') }], listen })
    await receiver.close()
  }
  const plain = await receive({ disks: [{ destination: join(folder, 'x') }], listen: '0.0.0.0:0', tls: false })
  await plain.close()
  const server = new NbdServer({ plain: true })
  await server.listen('tcp:0.0.0.0:0')
  await server.close()
})

t.test('options that make no sense', async (t) => {
  const cases: Array<[unknown, RegExp]> = [
    [true, /^tls: must be/], [null, /^tls: must be/], ['keys', /^tls: must be/],
    [{}, /^tls\.certificate: must be/], [{ psk: 'x' }, /^tls\.psk: must be/], [{ psk: {} }, /^tls\.psk\.keyFile/],
    [{ psk: { keyFile: 'x', identity: '' } }, /^tls\.psk\.identity/], [{ psk: { keyFile: 'x', key: 'y' } }, /^tls\.psk\.key:/],
    [{ psk: { keyFile: 'x' }, ca: 'y' }, /^tls\.ca/], [{ ...host, peer: [] }, /^tls\.peer/],
    [{ ...host, peer: [7] }, /^tls\.peer/], [{ ...host, passphrase: 'x' }, /^tls\.passphrase: no such/]
  ]
  for (const [tls, message] of cases) {
    const migration = migrate({ disks: [{ source: 'x' }], destination: '127.0.0.1:1', tls: tls as TlsOptions })
    t.match(await failureOf(migration), { code: 'INVALID', message })
  }
})

t.test('recover() asks nobody whom it cannot know', async (t) => {
  const path = join(temporary(t), 'journal')
  const { Journal } = await import('../../lib/index.js')
  const journal = await Journal.open(path)
  const record = { migration: '00000000-0000-4000-8000-000000000000', role: 'source' as const, disks: [{ name: 'web', epoch: 2 }] }
  await journal.write({ ...record, state: 'committing', peer: '192.0.2.1:7000' })
  await journal.close()
  t.match(await failureOf(recover(path)), { code: 'INVALID', message: /^tls: the destination is 192\.0\.2\.1/ })
  t.match(await recover(path, { patienceMs: 0 }), [{ owner: 'unknown' }])
})
