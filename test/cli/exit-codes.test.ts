// What fails, with which exit code, and what is said about the owner.
import { mkdirSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'
import t from 'tap'

import { ControlServer } from '../../lib/control/server.js'
import { BlockferryError } from '../../lib/base/errors.js'
import { CliProcess, jsonLines, run, scratch } from './cli-process.js'
import { makeImage } from './disks.js'

const kSourceOwns = /\nThe source owns the disks and goes on as before\.\n\w/

t.test('1: serve', async (t) => {
  const path = scratch(t)
  makeImage(path('good.img'), 16)
  writeFileSync(path('odd.img'), Buffer.alloc(1000))
  mkdirSync(path('folder'))
  writeFileSync(path('file'), '')
  const serve = async (disk: string, ...more: string[]) => await run(
    t, 'serve', '--disk', `web=${path(disk)}`, '--listen', `unix:${path('nbd')}`, ...more)
  const cases: Array<[string, string[], RegExp]> = [
    ['missing.img', [], /^blockferry: NOT_FOUND: /],
    ['folder', [], /^blockferry: IS_DIRECTORY: /],
    ['odd.img', [], /^blockferry: BAD_SIZE: /],
    ['good.img', ['--control', path('file')], /^blockferry: ADDRESS_IN_USE: .*is no socket/],
    ['good.img', ['--control', path('nowhere/control')], /^blockferry: NOT_FOUND: /],
    ['good.img', ['--control', path('x'.repeat(120))], /^blockferry: INVALID: .*no path for a socket/],
    ['good.img', ['--listen', `unix:${path('nowhere/nbd')}`], /^blockferry: NOT_FOUND: /]
  ]
  for (const [disk, more, message] of cases) {
    const { code, stderr } = await serve(disk, ...more)
    t.equal(code, 1, `${disk} ${more[0] ?? ''}`)
    t.match(stderr, message)
  }
  const first = new CliProcess(t, [
    'serve', '--disk', `web=${path('good.img')}`, '--listen', `unix:${path('nbd')}`, '--control', path('control')
  ])
  await first.said(/serving/)
  t.equal(statSync(path('control')).mode & 0o777, 0o600)
  t.match((await serve('good.img')).stderr, /^blockferry: BUSY: /, 'one owner of the file')
  makeImage(path('other.img'), 16)
  t.match((await serve('other.img')).stderr, /^blockferry: ADDRESS_IN_USE: /)
  const control = await run(
    t, 'serve', '--disk', `web=${path('other.img')}`, '--listen', `unix:${path('nbd2')}`, '--control', path('control'))
  t.match(control.stderr, /^blockferry: ADDRESS_IN_USE: another process listens/)
  first.child.kill('SIGKILL')
  await first.ended
  const next = new CliProcess(t, [
    'serve', '--disk', `web=${path('good.img')}`, '--listen', `unix:${path('nbd')}`, '--control', path('control')
  ])
  await next.said(/serving/)
  t.equal(await next.end(), 0, 'the sockets that a dead process left were replaced')
})

t.test('1: send, the source owns the disks', async (t) => {
  const path = scratch(t)
  makeImage(path('a.img'), 16)
  makeImage(path('small.img'), 16)
  truncateSync(path('small.img'), 8 * 2 ** 20)
  const unreachable = await run(t, 'send', '--disk', `web=${path('a.img')}`, '--to', '127.0.0.1:1')
  t.equal(unreachable.code, 1)
  t.match(unreachable.stderr, /^blockferry: UNREACHABLE: /)
  t.match(unreachable.stderr, kSourceOwns)
  const missing = await run(t, 'send', '--disk', `web=${path('missing.img')}`, '--to', '127.0.0.1:1')
  t.equal(missing.code, 1)
  t.match(missing.stderr, /^blockferry: NOT_FOUND: /)

  const receiver = new CliProcess(t, [
    'receive', '--disk', `web=${path('small.img')}`, '--listen', '127.0.0.1:0', '--keep-listening'
  ])
  const [, to] = await receiver.said(/listening on (\S+)/)
  const small = await run(t, 'send', '--disk', `web=${path('a.img')}`, '--to', to!)
  t.equal(small.code, 1)
  t.match(small.stderr, /^blockferry: TOO_SMALL: destination: /m)
  t.match(small.stderr, kSourceOwns)
  await receiver.said(/a migration failed: TOO_SMALL/)
  const unknown = await run(t, 'send', '--disk', `log=${path('a.img')}`, '--to', to!, '--json')
  t.equal(unknown.code, 1)
  t.match(jsonLines(unknown.stdout).at(-1), { event: 'failed', error: { code: 'NOT_FOUND', owner: 'source' } })
  t.equal(jsonLines(unknown.stdout).filter(({ event }) => event === 'failed').length, 1)
  const inUse = await run(t, 'receive', '--disk', `web=${path('b.img')}`, '--listen', to!)
  t.equal(inUse.code, 1)
  t.match(inUse.stderr, /^blockferry: ADDRESS_IN_USE: /)
  t.equal(await receiver.end('SIGTERM'), 130)
})

t.test('1: a peer that speaks no blockferry, a control socket that does not', async (t) => {
  const path = scratch(t)
  makeImage(path('a.img'), 16)
  const server = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const strange = await run(t, 'send', '--disk', `web=${path('a.img')}`, '--to', `127.0.0.1:${port}`)
  t.equal(strange.code, 1)
  t.match(strange.stderr, kSourceOwns)
  const control = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  control.listen(path('control'))
  await once(control, 'listening')
  t.teardown(() => control.close())
  const status = await run(t, 'status', '--control', path('control'))
  t.equal(status.code, 1)
  t.match(status.stderr, /^blockferry: PROTOCOL: .*no blockferry answers there/)
})

t.test('1: a deadline', async (t) => {
  const path = scratch(t)
  makeImage(path('a.img'), 32)
  const receiver = new CliProcess(t, ['receive', '--disk', `web=${path('b.img')}`, '--listen', '127.0.0.1:0'])
  const [, to] = await receiver.said(/listening on (\S+)/)
  const late = await run(
    t, 'send', '--disk', `web=${path('a.img')}`, '--to', to!, '--deadline', '500ms', '--bandwidth', '1MB/s', '--compression', 'off')
  t.equal(late.code, 1)
  t.match(late.stderr, /^blockferry: DEADLINE: /m)
  t.match(late.stderr, kSourceOwns)
  t.equal((await receiver.ended).code, 1)
  t.equal(statSync(path('b.img')).size, 32 * 2 ** 20, 'the file that was begun is kept')
})

t.test('3 and 4: what the serving process says counts', async (t) => {
  const path = scratch(t)
  let owner: 'destination' | 'unknown' = 'destination'
  const server = new ControlServer(async () => {
    throw new BlockferryError(owner === 'unknown' ? 'OWNER_UNKNOWN' : 'MACHINE', 'it broke', { owner })
  })
  await server.listen(path('control'))
  t.teardown(() => server.close())
  const send = async () => await run(t, 'send', '--control', path('control'), '--to', '127.0.0.1:1')
  const moved = await send()
  t.equal(moved.code, 3)
  t.match(moved.stderr, /^blockferry: MACHINE: it broke\nThe destination owns the disks: go on there\./)
  owner = 'unknown'
  const unknown = await send()
  t.equal(unknown.code, 4)
  t.match(unknown.stderr, /^blockferry: OWNER_UNKNOWN: it broke\nIt is unknown who owns the disks: start neither/)
})

t.test('4: the serving process is killed in the middle', async (t) => {
  const path = scratch(t)
  makeImage(path('a.img'), 32)
  const serve = new CliProcess(t, [
    'serve', '--disk', `web=${path('a.img')}`, '--listen', `unix:${path('nbd')}`, '--control', path('control')
  ])
  await serve.said(/serving/)
  const receiver = new CliProcess(t, ['receive', '--disk', `web=${path('b.img')}`, '--listen', '127.0.0.1:0', '--json'])
  const { port } = await receiver.event('listening')
  const sending = new CliProcess(t, [
    'send', '--control', path('control'), '--to', `127.0.0.1:${port}`, '--bandwidth', '2MB/s', '--json'
  ])
  await sending.event('progress')
  serve.child.kill('SIGKILL')
  t.equal((await sending.ended).code, 4)
  t.match(sending.events().at(-1), { event: 'failed', error: { code: 'OWNER_UNKNOWN', owner: 'unknown' } })
  t.equal((await receiver.ended).code, 1)
  t.match(receiver.events().at(-1), { event: 'failed', error: { code: 'PEER_GONE', owner: 'source' } })
})
