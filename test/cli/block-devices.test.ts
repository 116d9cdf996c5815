// Real block devices on both ends, with and without direct I/O: whole devices are compared.
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs'

import type { Test } from 'tap'
import t from 'tap'

import { noise } from '../../testbed/support/images.js'
import { kNeedsRoot, loopDevice } from '../support/root.js'
import { CliProcess, run, scratch } from './cli-process.js'
import { kMiB, makeImage, nbdUri, qemuIo, Writer } from './disks.js'

const kDiskMiB = 16

/** The bytes of a device, or of a file. */
function bytesOf (path: string, mebibytes: number, from = 0): Buffer {
  const bytes = Buffer.alloc(mebibytes * kMiB)
  const fd = openSync(path, 'r')
  readSync(fd, bytes, 0, bytes.length, from * kMiB)
  closeSync(fd)
  return bytes
}

/** A serve of one device, a receive onto another, and a writer. */
async function start (t: Test, source: string, target: string, direct: boolean) {
  const path = scratch(t)
  const flags = direct ? ['--direct', '--json'] : ['--json']
  const serve = new CliProcess(t, [
    'serve', '--disk', `web=${source}`, '--listen', `unix:${path('a.nbd')}`,
    '--control', path('a.control'), ...flags
  ])
  await serve.event('serving')
  const receiver = new CliProcess(t, [
    'receive', '--disk', `web=${target}`, '--listen', '127.0.0.1:0',
    '--serve', `unix:${path('b.nbd')}`, '--control', path('b.control'), ...flags
  ])
  const { port } = await receiver.event('listening')
  const writer = new Writer(t, nbdUri('web', path('a.nbd')), kDiskMiB * kMiB)
  await writer.more(50)
  const send = (name: string, to: number) =>
    run(t, 'send', '--control', path(`${name}.control`), '--to', `127.0.0.1:${to}`)
  return { path, serve, receiver, port, writer, send }
}

for (const direct of [true, false]) {
  const how = direct ? 'with' : 'without'
  t.test(`there and back, ${how} --direct`, { skip: kNeedsRoot }, async (t) => {
    const file = scratch(t)
    makeImage(file('a'), kDiskMiB)
    writeFileSync(file('b'), noise(7, kDiskMiB * kMiB))
    const [source, target] = [loopDevice(t, file('a')), loopDevice(t, file('b'))]
    const { path, serve, receiver, port, writer, send } = await start(t, source, target, direct)
    const there = await send('a', port)
    t.equal(there.code, 0, there.stderr)
    await writer.stop()
    t.ok(writer.refused, 'the source refuses writes now')
    t.same(writer.lost(target), [], 'every acknowledged write is there')
    t.ok(bytesOf(source, kDiskMiB).equals(bytesOf(target, kDiskMiB)), 'whole devices are equal')

    await receiver.event('done')
    const second = new Writer(t, nbdUri('web', path('b.nbd')), kDiskMiB * kMiB)
    await second.more(50)
    const back = new CliProcess(t, [
      'receive', '--control', path('a.control'), '--listen', '127.0.0.1:0', '--json'
    ])
    const again = await send('b', (await back.event('listening')).port)
    t.equal(again.code, 0, again.stderr)
    t.equal((await back.ended).code, 0)
    await second.stop()
    t.same(second.lost(source), [])
    t.ok(bytesOf(source, kDiskMiB).equals(bytesOf(target, kDiskMiB)), 'and back')
    t.ok(qemuIo(nbdUri('web', path('a.nbd')), 'write -P 9 0 4096', 'read -P 9 0 4096'))
    t.equal(await serve.end(), 0)
    t.equal(await receiver.end(), 0)
  })
}

t.test('onto a larger device with 4 KiB sectors', { skip: kNeedsRoot }, async (t) => {
  const file = scratch(t)
  makeImage(file('a'), kDiskMiB)
  writeFileSync(file('b'), noise(7, (kDiskMiB + 4) * kMiB))
  const [source, target] = [loopDevice(t, file('a')), loopDevice(t, file('b'), 4096)]
  const { port, writer, send } = await start(t, source, target, true)
  const { code, stderr } = await send('a', port)
  t.equal(code, 0, stderr)
  await writer.stop()
  t.same(writer.lost(target), [])
  t.ok(bytesOf(source, kDiskMiB).equals(bytesOf(target, kDiskMiB)), 'equal as far as it goes')
  const rest = noise(7, (kDiskMiB + 4) * kMiB).subarray(kDiskMiB * kMiB)
  t.ok(bytesOf(target, 4, kDiskMiB).equals(rest), 'what lies behind is not touched')
})

t.test('a device that another process holds', { skip: kNeedsRoot }, async (t) => {
  const file = scratch(t)
  makeImage(file('a'), kDiskMiB)
  const device = loopDevice(t, file('a'))
  const serve = new CliProcess(t, [
    'serve', '--disk', `web=${device}`, '--listen', `unix:${file('a.nbd')}`, '--json'
  ])
  await serve.event('serving')
  const second = await run(
    t, 'serve', '--disk', `web=${device}`, '--listen', `unix:${file('b.nbd')}`)
  t.equal(second.code, 1)
  t.match(second.stderr, /^blockferry: BUSY: /)
  t.equal(await serve.end(), 0)
})
