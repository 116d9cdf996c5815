// Disks on larger storage: as large as they were after a restart too, by the journal or by --size.
import { execFileSync } from 'node:child_process'
import { readFileSync, statSync, writeFileSync } from 'node:fs'

import type { Test } from 'tap'
import t from 'tap'

import { noise } from '../../testbed/support/images.js'
import { kNeedsRoot, loopDevice } from '../support/root.js'
import { CliProcess, run, scratch } from './cli-process.js'
import { kMiB, nbdUri, qemuIo } from './disks.js'

/** Ends inside a sector of 4 KiB. */
const kSize = 4 * kMiB + 3072

const sizeAt = (socket: string) =>
  Number(execFileSync('nbdinfo', ['--size', nbdUri('web', socket)], { encoding: 'utf8' }))

/** Serves a disk until it is ended. */
async function serve (
  t: Test, path: (name: string) => string, disk: string, ...options: string[]
): Promise<CliProcess> {
  const process = new CliProcess(t, [
    'serve', '--disk', `web=${disk}`, '--listen', `unix:${path('nbd')}`, '--control', path('control'), ...options
  ])
  await process.said(/^serving/m)
  return process
}

/** Receives into a file; what it has said. */
async function receive (t: Test, target: string, send: string[], ...options: string[]): Promise<string> {
  const receiver = new CliProcess(t, ['receive', '--disk', `web=${target}`, '--listen', '127.0.0.1:0', ...options])
  const [, port] = await receiver.said(/listening on 127\.0\.0\.1:(\d+)/)
  const sent = await run(t, 'send', ...send, '--to', `127.0.0.1:${port}`)
  t.equal(sent.code, 0, sent.stderr)
  const { code, stderr } = await receiver.ended
  t.equal(code, 0)
  return stderr
}

t.test('what has come to larger storage is served and sent on at its size', async (t) => {
  const path = scratch(t)
  const image = noise(1, kSize)
  writeFileSync(path('a'), image)
  writeFileSync(path('b'), noise(2, 6 * kMiB))
  const words = await receive(t, path('b'), ['--disk', `web=${path('a')}`], '--journal', path('journal'))
  t.match(words, new RegExp(`web has ${kSize} bytes and .* ${6 * kMiB}: .* --size web=${kSize}`))

  t.match((await run(t, 'recover', '--journal', path('journal'))).stdout, `web (epoch 1, the first ${kSize} bytes): owned here`)
  const known = await serve(t, path, path('b'), '--journal', path('journal'))
  t.equal(sizeAt(path('nbd')), kSize, 'the journal knows')
  await known.said(/the other 2094080 of .* are not served/)
  t.equal(await known.end(), 0)
  const larger = await serve(t, path, path('b'), '--journal', path('journal'), '--size', 'web=5MiB')
  t.equal(sizeAt(path('nbd')), 5 * kMiB, 'who says a size is believed')
  t.equal(await larger.end(), 0)
  const told = await serve(t, path, path('b'), '--size', `web=${kSize}`)
  t.equal(sizeAt(path('nbd')), kSize)
  await receive(t, path('c'), ['--control', path('control')])
  t.equal(await told.end(), 0)
  t.ok(readFileSync(path('c')).equals(image))
  await receive(t, path('d'), ['--disk', `web=${path('b')}`, '--size', `web=${kSize}`])
  t.ok(readFileSync(path('d')).equals(image))
})

t.test('space that is asked for is taken by a receive, and by a serve that takes a disk back', async (t) => {
  const path = scratch(t)
  for (const name of ['a', 'b']) execFileSync('truncate', ['-s', String(kSize), path(name)])
  await receive(t, path('new'), ['--disk', `web=${path('a')}`], '--allocate')
  t.ok(statSync(path('new')).blocks * 512 >= kSize)
  await serve(t, path, path('b'), '--away')
  const back = new CliProcess(t, ['receive', '--control', path('control'), '--listen', '127.0.0.1:0', '--allocate'])
  const [, port] = await back.said(/listening on 127\.0\.0\.1:(\d+)/)
  t.equal((await run(t, 'send', '--disk', `web=${path('a')}`, '--to', `127.0.0.1:${port}`)).code, 0)
  t.equal((await back.ended).code, 0)
  t.ok(statSync(path('b')).blocks * 512 >= kSize)
})

t.test('a disk that ends inside a sector of the device, with --direct, there and back', { skip: kNeedsRoot }, async (t) => {
  const path = scratch(t)
  const image = noise(1, kSize)
  const behind = noise(2, 6 * kMiB).subarray(kSize)
  writeFileSync(path('a'), image)
  writeFileSync(path('b'), noise(2, 6 * kMiB))
  const target = loopDevice(t, path('b'), 4096)
  await receive(t, target, ['--disk', `web=${path('a')}`], '--direct')
  const there = await serve(t, path, target, '--direct', '--size', `web=${kSize}`)
  t.equal(sizeAt(path('nbd')), kSize)
  t.ok(qemuIo(nbdUri('web', path('nbd')), `write -P 9 ${kSize - 512} 512`, 'write -P 8 0 64k', 'flush'), 'QEMU takes it so')
  await receive(t, path('c'), ['--control', path('control')], '--direct')
  t.equal(await there.end(), 0)
  image.fill(9, kSize - 512).fill(8, 0, 65_536)
  t.ok(readFileSync(path('c')).equals(image))
  execFileSync('sync', [target])
  t.ok(readFileSync(path('b')).subarray(kSize).equals(behind), 'what lies behind is not touched')
})

t.test('a device that is too small by the end of the disk is refused at the offer', { skip: kNeedsRoot }, async (t) => {
  const path = scratch(t)
  writeFileSync(path('a'), noise(1, kSize))
  writeFileSync(path('b'), noise(2, kSize)) // its last part of a sector is not the device's
  const receiver = new CliProcess(t, [
    'receive', '--disk', `web=${loopDevice(t, path('b'), 4096)}`, '--listen', '127.0.0.1:0', '--direct'
  ])
  const [, port] = await receiver.said(/listening on 127\.0\.0\.1:(\d+)/)
  const { code, stderr } = await run(t, 'send', '--disk', `web=${path('a')}`, '--to', `127.0.0.1:${port}`)
  t.equal(code, 1)
  t.match(stderr, /^blockferry: TOO_SMALL: /m)
})
