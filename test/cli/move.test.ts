// Disks move between processes while a client writes: nothing is lost, both sides are equal.
import t from 'tap'

import { CliProcess, jsonLines, run, scratch, serve } from './cli-process.js'
import { areEqual, exportsAt, kMiB, makeImage, nbdUri, qemuIo, Writer } from './disks.js'

const kDiskMiB = 32

t.test('serve, receive, send under a writer; the destination goes on serving', async (t) => {
  const path = scratch(t)
  makeImage(path('a-web.img'), kDiskMiB)
  const source = serve(t, path, 'a', 'web')
  await source.event('serving')
  t.same(exportsAt(path('a.nbd')), ['web'])
  const writer = new Writer(t, nbdUri('web', path('a.nbd')), kDiskMiB * kMiB)
  await writer.more(100)

  const receiver = new CliProcess(t, [
    'receive', '--disk', `web=${path('b.img')}`, '--listen', '127.0.0.1:0', '--serve', `unix:${path('b.nbd')}`
  ])
  const [, address] = await receiver.said(/^listening on (127\.0\.0\.1:\d+)$/m)
  const { code, stdout, stderr } = await run(t, 'send', '--control', path('a.control'), '--to', address!)
  t.equal(code, 0)
  t.match(stderr, /^moving web/)
  t.match(stdout, /^moved web \(34 MB\) to 127\.0\.0\.1:\d+ in /)
  t.match(stdout, /equal +yes/)

  await writer.stop()
  t.ok(writer.refused, 'the source refuses writes now')
  t.ok(writer.acknowledged.size > 0)
  t.same(writer.lost(path('b.img')), [], 'every acknowledged write is at the destination')
  t.ok(areEqual(path('a-web.img'), path('b.img')), 'whole images are equal')

  await receiver.said(/^serving web at unix:/m)
  t.ok(qemuIo(nbdUri('web', path('b.nbd')), 'write -P 7 0 4096', 'read -P 7 0 4096'), 'the destination takes writes')
  t.notOk(qemuIo(nbdUri('web', path('a.nbd')), 'write -P 8 0 4096'), 'the source does not')
  const again = await run(t, 'send', '--control', path('a.control'), '--to', address!)
  t.equal(again.code, 3)
  t.match(again.stderr, /^blockferry: REFUSED: web is not owned here.*\nThe destination owns the disks/)
  t.equal(await receiver.end('SIGINT'), 0)
  t.equal(await source.end(), 0)
})

t.test('one disk of two; a disk that is not there', async (t) => {
  const path = scratch(t)
  makeImage(path('a-web.img'), 16)
  makeImage(path('a-data.img'), 16)
  const source = serve(t, path, 'a', 'web', 'data')
  await source.event('serving')
  const receiver = new CliProcess(t, ['receive', '--disk', `data=${path('b.img')}`, '--listen', '127.0.0.1:0'])
  const [, address] = await receiver.said(/listening on (\S+)/)
  const to = ['--control', path('a.control'), '--to', address!]
  const wrong = await run(t, 'send', ...to, '--disk', 'log')
  t.equal(wrong.code, 1)
  t.match(wrong.stderr, /^blockferry: NOT_FOUND: no disk log here \(there is: web, data\)/)
  t.equal((await run(t, 'send', ...to, '--disk', 'data')).code, 0)
  t.equal((await receiver.ended).code, 0, 'without --serve it ends when its disks are here')
  t.ok(areEqual(path('a-data.img'), path('b.img')))
  t.ok(qemuIo(nbdUri('web', path('a.nbd')), 'write -P 1 0 4096'), 'the other disk is served as before')
})

t.test('a disk that nobody writes, without a serve; every option', async (t) => {
  const path = scratch(t)
  makeImage(path('a.img'), 16)
  const receiver = new CliProcess(t, ['receive', '--disk', `disk=${path('b.img')}`, '--listen', '127.0.0.1:0', '--json'])
  const { port } = await receiver.event('listening')
  const { code, stdout, stderr } = await run(
    t, 'send', '--disk', `disk=${path('a.img')}`, '--to', `127.0.0.1:${port}`, '--downtime', '1s', '--write-latency', '20ms',
    '--deadline', '2h', '--bandwidth', '1Gbit/s', '--switchover', '2020-01-01T00:00:00Z', '--throttle', 'steps', '--no-equality',
    '--compression', 'on', '--streams', '3', '--block-size', '64KiB', '--json')
  t.equal(code, 0)
  t.equal(stderr, '')
  const events = jsonLines(stdout)
  t.equal(events[0].event, 'started')
  t.match(events.at(-1), { event: 'done', report: { equal: null, digest: null } })
  const shares = events.filter((event) => event.event === 'progress').map((event) => event.progress)
  t.same(shares, [...shares].sort((a, b) => a - b), 'progress never falls')
  t.equal((await receiver.ended).code, 0)
  t.match(receiver.events().map((event) => event.event), ['listening', 'started', 'committed', 'done'])
  t.ok(areEqual(path('a.img'), path('b.img')))
})

t.test('two disks of a receive may come one after the other', async (t) => {
  const path = scratch(t)
  makeImage(path('a.img'), 16)
  makeImage(path('c.img'), 16)
  const receiver = new CliProcess(t, [
    'receive', '--disk', `one=${path('b.img')}`, '--disk', `two=${path('d.img')}`, '--listen', '127.0.0.1:0', '--json'
  ])
  const { port } = await receiver.event('listening')
  t.equal((await run(t, 'send', '--disk', `one=${path('a.img')}`, '--to', `127.0.0.1:${port}`)).code, 0)
  await receiver.event('done')
  t.notOk(receiver.hasEnded)
  t.equal((await run(t, 'send', '--disk', `two=${path('nowhere.img')}`, '--to', `127.0.0.1:${port}`)).code, 1)
  t.equal((await run(t, 'send', '--disk', `three=${path('c.img')}`, '--to', `127.0.0.1:${port}`)).code, 1)
  t.equal((await run(t, 'send', '--disk', `one=${path('c.img')}`, '--to', `127.0.0.1:${port}`)).code, 1, 'it is here already')
  t.notOk(receiver.hasEnded, 'a disk is here: what fails does not end it')
  t.equal((await run(t, 'send', '--disk', `two=${path('c.img')}`, '--to', `127.0.0.1:${port}`)).code, 0)
  t.equal((await receiver.ended).code, 0)
  t.ok(areEqual(path('a.img'), path('b.img')))
  t.ok(areEqual(path('c.img'), path('d.img')))
})

t.test('--track and --read-only', async (t) => {
  const path = scratch(t)
  makeImage(path('a.img'), 16)
  const options = ['serve', '--disk', `web=${path('a.img')}`, '--listen', `unix:${path('a.nbd')}`, '--json']
  const tracking = new CliProcess(t, [...options, '--track', '--control', path('c')])
  await tracking.event('serving')
  t.ok(qemuIo(nbdUri('web', path('a.nbd')), 'write -P 1 0 4096'))
  const receiver = new CliProcess(t, ['receive', '--disk', `web=${path('b.img')}`, '--listen', '127.0.0.1:0', '--json'])
  const { port } = await receiver.event('listening')
  t.equal((await run(t, 'send', '--control', path('c'), '--to', `127.0.0.1:${port}`)).code, 0)
  t.ok(areEqual(path('a.img'), path('b.img')))
  t.equal(await tracking.end(), 0)
  t.equal((await receiver.ended).code, 0)
  const reading = new CliProcess(t, [...options, '--read-only'])
  await reading.event('serving')
  t.notOk(qemuIo(nbdUri('web', path('a.nbd')), 'write -P 2 0 4096'), 'no write')
})
