// What the destination holds already is not sent again: from an attempt before, from a time when the
// disk was there, or by chance.
import { closeSync, copyFileSync, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'
import type { Test } from 'tap'

import type { MigrateOptions, Report } from '../../lib/index.js'
import { migrate, openTap, receive } from '../../lib/index.js'
import { hashOf, makeImage, noise, temporary } from '../../testbed/support/images.js'
import { makePair } from '../support/pair.js'
import { failureOf } from '../support/unharmed.js'
import { Writer } from '../../testbed/support/writer.js'

const kMiB = 2 ** 20
const kSize = 48 * kMiB

/** Moves a file that nobody writes, and compares. */
async function move (
  t: Test, source: string, target: string, options: Partial<MigrateOptions> = {}, force = false
): Promise<Report> {
  await using receiver = await receive({ disks: [{ destination: target, force }] })
  const report = await migrate({ disks: [{ source }], destination: receiver.address, ...options })
  for (const tap of receiver.taps.values()) await tap.close()
  t.equal(report.equal, report.digest === null ? null : true)
  t.equal(await hashOf(source), await hashOf(target))
  return report
}

function scatter (path: string, seed: number, count: number): void {
  const file = openSync(path, 'r+')
  for (let i = 0; i < count; i++) {
    const at = (seed * 7919 + i * 104_729 * 512) % (kSize - 8192)
    writeSync(file, noise(seed + i, 100 + (i * 37) % 8000), 0, undefined, at)
  }
  closeSync(file)
}

t.test('an equal copy: nothing is sent', async (t) => {
  const dir = temporary(t)
  const source = makeImage(join(dir, 'a'), kSize)
  copyFileSync(source, join(dir, 'b'))
  const { bytes } = await move(t, source, join(dir, 'b'))
  t.equal(bytes.sent, 0)
  t.equal(bytes.same, kSize)
  t.ok(bytes.wire < kSize / 1000)
  const unchecked = await move(t, source, join(dir, 'b'), { equality: false })
  t.equal(unchecked.bytes.sent, 0)
})

t.test('told not to: everything is sent', async (t) => {
  const dir = temporary(t)
  const source = makeImage(join(dir, 'a'), kSize)
  copyFileSync(source, join(dir, 'b'))
  await t.rejects(move(t, source, join(dir, 'b'), { reuse: false }), { code: 'REFUSED' }, 'it may be the same disk')
  const forced = await move(t, source, join(dir, 'b'), { reuse: false }, true)
  scatter(join(dir, 'b'), 1, 1)
  const other = await move(t, source, join(dir, 'b'), { reuse: false })
  for (const { bytes } of [forced, other]) {
    t.equal(bytes.same, 0)
    t.equal(bytes.sent, kSize / 2)
  }
})

for (const blockSize of [4096, 65_536, kMiB]) {
  t.test(`only what differs is sent, in blocks of ${blockSize}`, async (t) => {
    const seed = Math.floor(Math.random() * 1e6)
    t.comment(`seed ${seed}`)
    const dir = temporary(t)
    const source = makeImage(join(dir, 'a'), kSize + 512, seed)
    copyFileSync(source, join(dir, 'b'))
    scatter(source, seed, 30)
    scatter(join(dir, 'b'), seed + 1000, 30)
    const { bytes } = await move(t, source, join(dir, 'b'), { blockSize })
    t.ok(bytes.sent <= 60 * (16_384 + 2 * blockSize), `${bytes.sent} bytes`)
    t.ok(bytes.same > 0 || blockSize === kMiB)
  })
}

t.test('a destination with something else in it, larger, or with data where the source has none', async (t) => {
  const dir = temporary(t)
  const source = makeImage(join(dir, 'a'), kSize)
  writeFileSync(join(dir, 'b'), noise(99, kSize))
  const { bytes } = await move(t, source, join(dir, 'b'))
  t.equal(bytes.same, 0)
  t.equal(bytes.zero, kSize / 2)
})

t.test('an attempt that was broken off: the next one goes on where it was', async (t) => {
  const pair = await makePair(t, kSize)
  const writer = await Writer.start(pair.socket, 'web', 300)
  const first = migrate({
    disks: [{ source: pair.source }], destination: pair.receiver.address, compression: 'off',
    budgets: { bandwidth: '40MB/s' }
  })
  first.on('progress', ({ sentBytes }) => { if (sentBytes > kSize * 0.7) first.cancel() })
  t.match(await failureOf(first), { code: 'CANCELLED', resumable: true })
  const report = await migrate({
    disks: [{ source: pair.source }], destination: pair.receiver.address, compression: 'off',
    machine: { pause: () => writer.pause() }
  })
  await writer.stop()
  t.ok(report.bytes.same > kSize / 4, `${report.bytes.same} bytes were there`)
  t.same(writer.lostIn(pair.target), [])
  t.equal(await hashOf(pair.target), await hashOf(pair.image))
})

t.test('there and back under a writer: back goes what was written there', async (t) => {
  const pair = await makePair(t, kSize)
  await migrate({ disks: [{ source: pair.source }], destination: pair.receiver.address })
  const there = pair.receiver.taps.get('web')!
  await using back = await receive({ disks: [{ destination: pair.source }] })
  const report = await migrate({ disks: [{ source: there }], destination: back.address })
  t.equal(report.bytes.sent, 0)
  t.equal(report.bytes.same, kSize)
  t.equal(pair.source.state, 'open')
})

t.test('it is cut short while it is told what is there', async (t) => {
  const dir = temporary(t)
  const source = makeImage(join(dir, 'a'), kSize)
  const target = join(dir, 'b')
  copyFileSync(source, target)
  await using tap = await openTap({ source: target, name: 'disk' })
  truncateSync(target, kMiB)
  await using receiver = await receive({ disks: [{ destination: tap }] })
  const error = await failureOf(migrate({ disks: [{ source }], destination: receiver.address }))
  t.match(error, { code: 'SHORT_READ', owner: 'source' })
})
