// Offers that a receive refuses end only themselves: it ends with the migration that it has accepted.
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'

import type { Test } from 'tap'
import t from 'tap'

import { rawSource } from '../support/raw-peers.js'
import { hashOf } from '../../testbed/support/images.js'
import { CliProcess, run, scratch, serve } from './cli-process.js'

const disk = { name: 'web', size: 4 << 20, blockSize: 4096, epoch: 0, places: [] }
const offer = {
  type: 'offer', migration: 'another', streams: 1, equality: true, reuse: true, machine: null, disks: [disk]
}
const kRefused: Array<[string, object, string]> = [
  ['another disk', { ...offer, disks: [{ ...disk, name: 'log' }] }, 'NOT_FOUND'],
  ['no disk at all', { ...offer, disks: [] }, 'PROTOCOL'],
  ['no offer', { type: 'commit', mark: 1, digests: [], run: true }, 'PROTOCOL'],
  ['what makes no sense', { type: 'offer' }, 'PROTOCOL']
]

async function start (t: Test) {
  const path = scratch(t)
  writeFileSync(path('a-web.img'), randomBytes(disk.size))
  const receiver = new CliProcess(t, [
    'receive', '--disk', `web=${path('b.img')}`, '--listen', '127.0.0.1:0', '--json'
  ])
  const { port } = await receiver.event('listening')
  const refused = async (name: string, message: object, code: string) => {
    const { say, hears, sender } = await rawSource(t, { host: '127.0.0.1', port })
    say(message)
    t.match(await hears('failed', 'accept'), { type: 'failed', code }, name)
    await sender.close()
  }
  await serve(t, path, 'a', 'web').said(/serving/)
  const sending = (...options: string[]) => new CliProcess(t, [
    'send', '--control', path('a.control'), '--to', `127.0.0.1:${port}`, '--json', ...options
  ])
  return { path, receiver, refused, sending }
}

t.test('before and beside the migration', async (t) => {
  const { path, receiver, refused, sending } = await start(t)
  for (const [name, message, code] of kRefused) await refused(name, message, code)
  const sent = sending('--switchover', 'manual')
  await sent.event('ready')
  for (const [name, message, code] of kRefused) await refused(name, message, code)
  await refused('the disk that is on its way', offer, 'BUSY')
  t.equal((await run(t, 'switchover', '--control', path('a.control'))).code, 0)
  t.equal((await sent.ended).code, 0)
  t.equal((await receiver.ended).code, 0)
  t.equal(await hashOf(path('a-web.img')), await hashOf(path('b.img')))
})

t.test('the migration fails: it ends', async (t) => {
  const { receiver, refused, sending } = await start(t)
  await refused(...kRefused[0]!)
  const sent = sending('--bandwidth', '100kB/s', '--compression', 'off')
  await receiver.event('started')
  await sent.end('SIGINT')
  t.equal((await receiver.ended).code, 1)
  t.match(receiver.events().at(-1), { event: 'failed', error: { code: 'CANCELLED', owner: 'source' } })
})

t.test('two that were accepted: the failure of one leaves the other alone', async (t) => {
  const path = scratch(t)
  const receiver = new CliProcess(t, [
    'receive', '--disk', `web=${path('web')}`, '--disk', `log=${path('log')}`, '--listen', '127.0.0.1:0', '--json'
  ])
  const { port } = await receiver.event('listening')
  const begin = async (name: string) => {
    const source = await rawSource(t, { host: '127.0.0.1', port })
    source.say({ ...offer, migration: name, disks: [{ ...disk, name }] })
    await source.hears('accept')
    return source
  }
  const [web, log] = [await begin('web'), await begin('log')]
  const isOf = (name: string) => ({ migration }: any) => migration === name
  web.say({ type: 'cancel', keep: true })
  await receiver.event('failed', isOf('web'))
  log.say({ type: 'ping', number: 7 })
  t.match(await log.hears('pong', 'failed'), { type: 'pong' })
  log.say({ type: 'cancel', keep: true })
  await receiver.event('failed', isOf('log'))
  t.equal((await receiver.ended).code, 1)
})
