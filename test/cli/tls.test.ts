// The command line over TLS: into and out of a serve, recover, and what it refuses.
import { readFileSync, statSync } from 'node:fs'
import t from 'tap'

import { Authority, pskFile } from '../support/keys.js'
import { CliProcess, run, scratch, serve } from './cli-process.js'
import { areEqual, kMiB, makeImage, nbdUri, Writer } from './disks.js'

t.test('a pre-shared key: serve, receive, send under a writer', async (t) => {
  const path = scratch(t)
  const keys = pskFile(path('.'), 'keys.psk', 'alice', 'bob')
  makeImage(path('a-web.img'), 16)
  const source = serve(t, path, 'a', 'web')
  await source.event('serving')
  const writer = new Writer(t, nbdUri('web', path('a.nbd')), 16 * kMiB)
  await writer.more(50)
  const receiver = new CliProcess(t, [
    'receive', '--disk', `web=${path('b.img')}`, '--listen', '127.0.0.1:0', '--tls-psk', keys,
    '--journal', path('b.journal'), '--serve', `unix:${path('b.nbd')}`
  ])
  const [, address] = await receiver.said(/^listening on (127\.0\.0\.1:\d+)$/m)
  const send = ['send', '--control', path('a.control'), '--to', address!]
  const plain = await run(t, ...send)
  t.equal(plain.code, 1)
  t.match(plain.stderr, /^blockferry: TLS: .*does not speak TLS/m)
  t.match(plain.stderr, /The source owns the disks/)
  await receiver.said(/^refused 127\.0\.0\.1:\d+: TLS: the peer does not speak TLS.* \(1 in all\)$/m)
  const { code, stderr } = await run(t, ...send, '--tls-psk', keys, '--tls-identity', 'bob')
  t.equal(code, 0, stderr)
  await writer.stop()
  t.same(writer.lost(path('b.img')), [], 'every acknowledged write is at the destination')
  t.ok(areEqual(path('a-web.img'), path('b.img')), 'whole images are equal')
  for (const name of ['a.control', 'a.nbd', 'b.nbd', 'b.journal']) {
    t.equal(statSync(path(name)).mode & 0o777, 0o600, `${name} is for its owner alone`)
  }
})

t.test('certificates, from a file to a file; nothing secret is said', async (t) => {
  const path = scratch(t)
  const ca = new Authority(path('.'))
  const host = ca.issue('host', ['127.0.0.1'])
  const source = ca.issue('source', ['source.example'])
  const expired = ca.issueExpired('old', ['source.example'])
  makeImage(path('a.img'), 8)
  const tls = ({ certificate, key, ca }: typeof host) => ['--tls-cert', certificate, '--tls-key', key, '--tls-ca', ca]
  const receiver = new CliProcess(t, [
    'receive', '--disk', `web=${path('b.img')}`, '--listen', '127.0.0.1:0', '--json',
    ...tls(host), '--tls-peer', 'source.example'
  ])
  const { host: at, port } = await receiver.event('listening')
  const send = ['send', '--disk', `web=${path('a.img')}`, '--to', `${at}:${port}`]
  const refused = await run(t, ...send, ...tls(expired))
  t.equal(refused.code, 1)
  t.match(refused.stderr, /^blockferry: UNAUTHORIZED: .*expired/m)
  const told = await receiver.event('refused')
  t.match(told, { host: '127.0.0.1', error: { code: 'UNAUTHORIZED', message: /expired/ }, total: 1 })
  const moved = await run(t, ...send, ...tls(source), '--json')
  t.equal(moved.code, 0, moved.stderr)
  const received = await receiver.ended
  t.equal(received.code, 0)
  t.ok(areEqual(path('a.img'), path('b.img')))
  const said = refused.stderr + moved.stdout + moved.stderr + received.stdout + received.stderr
  const secret = readFileSync(source.key, 'utf8').split('\n')[1]!
  t.notOk(said.includes(secret))
})

t.test('what makes no sense is named', async (t) => {
  const send = ['send', '--disk', 'a=b', '--to']
  const receive = ['receive', '--disk', 'a=b', '--listen']
  const cases: Array<[string[], RegExp]> = [
    [[...send, '192.0.2.1:7', '--tls-psk', 'x', '--plain'], /--plain: contradicts --tls-psk/],
    [[...send, '192.0.2.1:7'], /--to: 192\.0\.2\.1:7 is not this host's loopback: give --tls-psk/],
    [[...receive, '0.0.0.0:0'], /--listen: 0\.0\.0\.0:0 is not this host's loopback/],
    [[...receive, '[::]:0'], /--listen: \[::\]:0 is not/],
    [[...receive, '127.0.0.1:0', '--serve', 'tcp:0.0.0.0:0'], /--serve: .*NBD is not encrypted: say --plain/],
    [['serve', '--disk', 'a=b', '--listen', 'tcp:192.0.2.1:1'], /--listen: .*NBD is not encrypted: say --plain/],
    [[...send, '127.0.0.1:1', '--tls-cert', 'x'], /--tls-key: is needed, too/],
    [[...send, '127.0.0.1:1', '--tls-psk', 'x', '--tls-ca', 'y'], /--tls-psk: is not for use with/],
    [[...send, '127.0.0.1:1', '--tls-identity', 'x'], /--tls-identity: belongs to --tls-psk/],
    [[...send, '127.0.0.1:1', '--tls-peer', 'x'], /--tls-peer: belongs to --tls-cert/]
  ]
  for (const [args, pattern] of cases) {
    const { code, stderr } = await run(t, ...args)
    t.equal(code, 2, args.join(' '))
    t.match(stderr, pattern)
  }
})
