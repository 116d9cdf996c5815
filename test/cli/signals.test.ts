// Signals at any time: migrations are cancelled, the source goes on as it was.
import { existsSync } from 'node:fs'
import type { Test } from 'tap'
import t from 'tap'

import { CliProcess, run, scratch } from './cli-process.js'
import { areEqual, kMiB, makeImage, nbdUri, qemuIo, Writer } from './disks.js'

const kSlow = ['--bandwidth', '2MB/s', '--compression', 'off']

async function start (t: Test, ...receiveOptions: string[]) {
  const path = scratch(t)
  makeImage(path('a.img'), 32)
  const control = ['--control', path('control')]
  const serve = new CliProcess(t, ['serve', '--disk', `web=${path('a.img')}`, '--listen', `unix:${path('nbd')}`, ...control])
  await serve.said(/^serving web/m)
  const receiver = new CliProcess(t, [
    'receive', '--disk', `web=${path('b.img')}`, '--listen', '127.0.0.1:0', '--json', ...receiveOptions
  ])
  const { port } = await receiver.event('listening')
  const send = (...more: string[]) => new CliProcess(t, ['send', ...control, '--to', `127.0.0.1:${port}`, '--json', ...more])
  const writes = () => qemuIo(nbdUri('web', path('nbd')), 'write -P 1 0 4096')
  return { path, control, serve, receiver, port, send, writes }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  t.test(`${signal} to a send in the bulk copy, under a writer`, async (t) => {
    const { path, send, receiver, serve } = await start(t)
    const writer = new Writer(t, nbdUri('web', path('nbd')), 32 * kMiB)
    const sending = send(...kSlow)
    await sending.event('progress')
    t.equal(await sending.end(signal), 130)
    t.match(sending.events().at(-1), { event: 'failed', error: { code: 'CANCELLED', owner: 'source' } })
    t.equal((await receiver.ended).code, 1)
    await writer.more(50)
    t.notOk(writer.refused, 'the writer saw nothing of it')
    await writer.stop()
    t.same(writer.lost(path('a.img')), [])
    t.equal(await serve.end(), 0, 'serve had nothing to cancel any more')
  })
}

t.test('SIGINT to a send of a disk that nobody writes', async (t) => {
  const { path, receiver, port } = await start(t)
  makeImage(path('c.img'), 32)
  const sending = new CliProcess(t, ['send', '--disk', `web=${path('c.img')}`, '--to', `127.0.0.1:${port}`, ...kSlow])
  await sending.said(/moving web/)
  t.equal(await sending.end('SIGINT'), 130)
  t.match((await sending.ended).stderr, /^blockferry: CANCELLED: .*\nThe source owns the disks and goes on as before\.\n/m)
  t.equal((await receiver.ended).code, 1)
})

t.test('a send that just dies: the migration goes on', async (t) => {
  const { path, control, send, receiver, serve } = await start(t)
  const sending = send(...kSlow)
  await sending.event('progress')
  sending.child.kill('SIGKILL')
  await sending.ended
  const { stdout } = await run(t, 'status', ...control)
  t.match(stdout, /^migration [0-9a-f]{8} of web to .*: copying$/m)
  t.equal((await run(t, 'set', ...control, '--bandwidth', '1GB/s')).code, 0)
  t.equal((await receiver.ended).code, 0)
  t.ok(areEqual(path('a.img'), path('b.img')))
  await serve.said(/migration [0-9a-f]{8} is done/)
  t.equal(await serve.end(), 0)
})

t.test('SIGTERM to serve: its migrations are cancelled, its sockets are gone', async (t) => {
  const { path, send, serve, receiver } = await start(t)
  const sending = send(...kSlow)
  await sending.event('progress')
  t.equal(await serve.end('SIGTERM'), 130)
  t.equal((await sending.ended).code, 1, 'send failed, it was not interrupted itself')
  t.match(sending.events().at(-1), { event: 'failed', error: { code: 'CANCELLED', owner: 'source' } })
  t.equal((await receiver.ended).code, 1)
  t.notOk(existsSync(path('nbd')))
  t.notOk(existsSync(path('control')))
})

t.test('serve under clients and without migrations ends with 0', async (t) => {
  const { path, serve } = await start(t)
  const writer = new Writer(t, nbdUri('web', path('nbd')), 32 * kMiB)
  await writer.more(20)
  t.equal(await serve.end('SIGINT'), 0)
  await writer.stop()
  t.same(writer.lost(path('a.img')), [])
})

t.test('SIGINT to receive, waiting and receiving', async (t) => {
  const { path, send, receiver, writes } = await start(t, '--serve', 'tcp:127.0.0.1:0', '--keep-listening')
  const sending = send(...kSlow)
  await receiver.event('started')
  await sending.event('progress')
  t.equal(await receiver.end('SIGINT'), 130)
  t.match(receiver.events().at(-1), { event: 'failed', error: { code: 'CANCELLED', owner: 'source' } })
  t.equal((await sending.ended).code, 1)
  t.match(sending.events().at(-1), { event: 'failed', error: { owner: 'source' } })
  t.ok(writes(), 'the source goes on')
  const waiting = new CliProcess(t, ['receive', '--disk', `web=${path('b.img')}`, '--listen', '127.0.0.1:0'])
  await waiting.said(/listening/)
  t.equal(await waiting.end('SIGINT'), 130)
})

t.test('--keep-listening outlives a failed migration', async (t) => {
  const { path, send, receiver } = await start(t, '--keep-listening')
  const first = send(...kSlow)
  await first.event('progress')
  t.equal(await first.end('SIGINT'), 130)
  await receiver.event('failed')
  t.equal((await send().ended).code, 0)
  t.equal((await receiver.ended).code, 0)
  t.ok(areEqual(path('a.img'), path('b.img')))
})

t.test('SIGINT to a receive that has one of two disks: the destination owns that', async (t) => {
  const path = scratch(t)
  makeImage(path('a.img'), 16)
  const receiver = new CliProcess(t, [
    'receive', '--disk', `one=${path('b.img')}`, '--disk', `two=${path('d.img')}`, '--listen', '127.0.0.1:0', '--json'
  ])
  const { port } = await receiver.event('listening')
  t.equal((await run(t, 'send', '--disk', `one=${path('a.img')}`, '--to', `127.0.0.1:${port}`)).code, 0)
  await receiver.event('done')
  t.equal(await receiver.end('SIGINT'), 3)
  t.match(receiver.events().at(-1), { event: 'failed', error: { code: 'CANCELLED', message: /one had arrived, two had not/ } })
})
