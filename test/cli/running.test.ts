// The commands on a running migration.
import { existsSync } from 'node:fs'
import type { Test } from 'tap'
import t from 'tap'

import { CliProcess, run, scratch } from './cli-process.js'
import { areEqual, makeImage, nbdUri, qemuIo } from './disks.js'

/** A serve with two disks and a receive for each. */
async function start (t: Test) {
  const path = scratch(t)
  makeImage(path('web.img'), 32)
  makeImage(path('data.img'), 32)
  const control = ['--control', path('control')]
  const serve = new CliProcess(t, [
    'serve', '--disk', `web=${path('web.img')}`, '--disk', `data=${path('data.img')}`,
    '--listen', `unix:${path('nbd')}`, ...control, '--json'
  ])
  await serve.event('serving')
  const listen = async (disk: string) => {
    const receiver = new CliProcess(t, [
      'receive', '--disk', `${disk}=${path(`${disk}-moved.img`)}`, '--listen', '127.0.0.1:0', '--json'
    ])
    return { receiver, to: `127.0.0.1:${(await receiver.event('listening')).port}` }
  }
  const send = (disk: string, to: string, ...more: string[]) => new CliProcess(t, [
    'send', ...control, '--disk', disk, '--to', to, ...more, '--json'
  ])
  const status = async () => JSON.parse((await run(t, 'status', ...control, '--json')).stdout)
  /** Asks until it is so. */
  const until = async (isSo: (status: any) => boolean) => {
    for (;;) {
      const now = await status()
      if (isSo(now)) return now
    }
  }
  return { path, control, serve, listen, send, status, until }
}

/** Slow enough to be met while it runs. */
const kSlow = ['--bandwidth', '300kB/s', '--compression', 'off']

t.test('manual: ready, then switchover', async (t) => {
  const { path, control, listen, send, until } = await start(t)
  const { receiver, to } = await listen('web')
  const sending = send('web', to, '--switchover', 'manual')
  await sending.event('ready')
  await until(({ running }) => running[0]?.state === 'ready')
  t.notOk(sending.events().some(({ event }) => event === 'switchover'))
  const { code, stdout } = await run(t, 'switchover', ...control)
  t.equal(code, 0)
  t.match(stdout, /as soon as/)
  t.equal((await sending.ended).code, 0)
  t.equal(sending.events().at(-1).event, 'done')
  t.equal((await receiver.ended).code, 0)
  t.ok(areEqual(path('web.img'), path('web-moved.img')))
})

t.test('pause, resume, set', async (t) => {
  const { path, control, listen, send, until } = await start(t)
  const { to } = await listen('web')
  const sending = send('web', to, ...kSlow)
  await sending.event('progress')
  t.equal((await run(t, 'pause', ...control)).code, 0)
  const paused = await until(({ running }) => running[0]?.state === 'paused')
  t.match(paused.running, [{ direction: 'out', disks: ['web'], address: to, progress: { phase: 'bulk' } }])
  const text = await run(t, 'status', ...control)
  t.match(text.stdout, /^disk web: 34 MB, owned here/m)
  t.match(text.stdout, /^migration [0-9a-f]{8} of web to 127\.0\.0\.1:\d+: paused$/m)
  t.match(text.stdout, /% .* left .*paused$/m)
  t.equal((await run(t, 'resume', ...control)).code, 0)
  const set = await run(t, 'set', ...control, '--bandwidth', '1GB/s', '--downtime', '2s')
  t.equal(set.code, 0)
  t.match(set.stdout, /bandwidth 1GB\/s/)
  t.equal((await sending.ended).code, 0)
  t.ok(areEqual(path('web.img'), path('web-moved.img')))
})

t.test('cancel keeps what was copied, cancel --delete does not', async (t) => {
  const { path, control, listen, send, status } = await start(t)
  for (const remove of [false, true]) {
    const { receiver, to } = await listen('web')
    const sending = send('web', to, ...kSlow)
    await sending.event('progress')
    const cancelled = await run(t, 'cancel', ...control, ...(remove ? ['--delete'] : []))
    t.equal(cancelled.code, 0, cancelled.stderr)
    t.equal((await sending.ended).code, 1, 'cancelled by another: failed')
    t.match(sending.events().at(-1), { event: 'failed', error: { code: 'CANCELLED', owner: 'source' } })
    t.equal((await receiver.ended).code, 1)
    t.match(receiver.events().at(-1), { event: 'failed', error: { code: 'CANCELLED', owner: 'source' } })
    // Only a file that the migration itself has made is deleted.
    t.equal(existsSync(path('web-moved.img')), true)
    t.ok(qemuIo(nbdUri('web', path('nbd')), 'write -P 1 0 4096'), 'the source goes on')
  }
  const { receiver, to } = await listen('data')
  const sending = send('data', to, ...kSlow)
  await sending.event('progress')
  t.equal((await run(t, 'cancel', ...control, '--delete')).code, 0)
  await receiver.ended
  t.notOk(existsSync(path('data-moved.img')), 'it was deleted')
  const { running, past } = await status()
  t.same(running, [])
  t.match(past.map((entry: any) => entry.error.code), ['CANCELLED', 'CANCELLED', 'CANCELLED'])
})

t.test('cancel ends a waiting receive, too', async (t) => {
  const { path, control, listen, send, until } = await start(t)
  const { to } = await listen('web')
  t.equal((await send('web', to).ended).code, 0)
  const back = new CliProcess(t, ['receive', ...control, '--disk', 'web', '--listen', '127.0.0.1:0', '--json'])
  await back.event('listening')
  await until(({ running }) => running[0]?.state === 'listening')
  t.match((await run(t, 'pause', ...control)).stderr, /INVALID: disks are being received here/)
  t.equal((await run(t, 'cancel', ...control)).code, 0)
  t.equal((await back.ended).code, 1)
  t.match(back.events().at(-1), { event: 'failed', error: { code: 'CANCELLED', owner: 'source' } })
  t.notOk(qemuIo(nbdUri('web', path('nbd')), 'write -P 1 0 4096'), 'still owned elsewhere')
})

t.test('two migrations at once must be told apart; two of one disk are refused', async (t) => {
  const { path, control, listen, send } = await start(t)
  const web = await listen('web')
  const data = await listen('data')
  const one = send('web', web.to, ...kSlow)
  const two = send('data', data.to, ...kSlow)
  await Promise.all([one.event('progress'), two.event('progress')])
  const again = await send('web', data.to).ended
  t.equal(again.code, 1)
  t.match(again.stdout, /"code":"BUSY"/)
  const vague = await run(t, 'pause', ...control)
  t.equal(vague.code, 1)
  t.match(vague.stderr, /INVALID: several migrations are running, name one: .* \((web|data)\); .* \((web|data)\)/)
  const { running } = JSON.parse((await run(t, 'status', ...control, '--json')).stdout)
  const id = running.find((entry: any) => entry.disks[0] === 'data').migration
  t.equal((await run(t, 'cancel', ...control, '--migration', id.slice(0, 13))).code, 0)
  t.equal((await two.ended).code, 1)
  t.equal((await run(t, 'set', ...control, '--bandwidth', '1GB/s')).code, 0, 'now there is one')
  t.equal((await one.ended).code, 0)
  t.ok(areEqual(path('web.img'), path('web-moved.img')))
})

t.test('nothing runs, nobody listens', async (t) => {
  const { path, control } = await start(t)
  for (const command of ['pause', 'resume', 'switchover', 'cancel']) {
    const { code, stderr } = await run(t, command, ...control)
    t.equal(code, 1)
    t.match(stderr, /^blockferry: NOT_FOUND: no migration is running/)
  }
  const { code, stderr } = await run(t, 'status', '--control', path('nowhere'))
  t.equal(code, 1)
  t.match(stderr, /^blockferry: NOT_FOUND: .*nowhere does not exist/)
})
