// The main job: a disk moves while a client writes to it, and nothing is lost.
import { join } from 'node:path'

import t from 'tap'

import type { MigrateOptions, Migration, MigrationEvent } from '../../lib/index.js'
import { migrate, NbdServer, openTap, receive } from '../../lib/index.js'
import { hashOf, makeImage, temporary } from '../../testbed/support/images.js'
import { makePair } from '../support/pair.js'
import { Writer } from '../../testbed/support/writer.js'

const variants: Array<[string, Partial<MigrateOptions>]> = [
  ['by default', {}],
  ['with one stream', { streams: 1 }],
  ['with four streams and blocks of 64 KiB', { streams: 4, blockSize: '64KiB' }],
  ['compressed', { compression: 'on' }],
  ['without the equality check', { equality: false }],
  ['over a slow link', { budgets: { bandwidth: '20MB/s' } }]
]

for (const [name, options] of variants) {
  t.test(`moves under a writer, ${name}`, async (t) => {
    const { source, receiver, socket, image, target } = await makePair(t)
    const writer = await Writer.start(socket, 'web', 3000)
    const calls: string[] = []
    const migration = migrate({
      disks: [{ source }],
      destination: receiver.address,
      machine: {
        pause: async () => { calls.push('pause'); await writer.pause() },
        resume: () => { calls.push('resume') }
      },
      ...options
    })
    const events: MigrationEvent[] = []
    for await (const event of migration) events.push(event)
    const report = await migration
    await writer.stop()
    t.equal(writer.error, null, 'the writer saw no error')
    t.ok(writer.writes > 0)
    t.same(writer.lostIn(target), [], 'every acknowledged write is there')
    t.equal(await hashOf(target), await hashOf(image), 'whole images are equal')
    t.same(calls, ['pause'], 'the machine was paused and is not resumed here')
    t.equal(source.state, 'refusing')
    t.equal(receiver.taps.get('web')!.state, 'open')
    const equality = options.equality ?? true
    t.equal(report.equal, equality ? true : null)
    if (equality) t.equal(report.digest!.source, report.digest!.destination)
    t.match(report, {
      durationMs: Number, downtimeMs: Number, rounds: Number,
      bytes: { disk: 16 << 20, sent: Number, wire: Number, zero: Number },
      dirty: { rate: Number }, throttle: { delayMs: Number, writesDelayed: Number }
    })
    const { pause, drain, residual, commit } = report.downtime
    t.ok(Math.abs(report.downtimeMs - pause - drain - residual - commit) < 0.001)
    t.same(events[0], { event: 'started', disks: [{ name: 'web', bytes: 16 << 20 }] })
    t.same(events.filter(({ event }) => event === 'switchover').slice(-3).map((event: any) => event.step),
      ['pause', 'residual', 'commit'])
    t.same(events.at(-1), { event: 'done', report })
    const progress = events.flatMap((event) => event.event === 'progress' ? [event.progress] : [])
    t.ok(progress.every((value, index) => value >= (progress[index - 1] ?? 0) && value <= 1), 'never falls')
    t.match(await receiver.done, { bytes: { disk: 16 << 20 }, equal: equality ? true : null })
  })
}

t.test('after the switchover the source refuses writes, and still reads', async (t) => {
  const { source, receiver, socket } = await makePair(t, 4 << 20)
  await migrate({ disks: [{ source }], destination: receiver.address })
  const writer = await Writer.start(socket, 'web', 10)
  await writer.stop()
  t.match(writer.error, { code: 'EPERM' })
  t.equal(writer.writes, 0)
})

t.test('a writer that is held through the switchover is refused when it is over', async (t) => {
  const { source, receiver, socket, image, target } = await makePair(t)
  const writer = await Writer.start(socket, 'web', 3000)
  const report = await migrate({ disks: [{ source }], destination: receiver.address })
  await writer.stop()
  t.match(writer.error, { code: 'EPERM' })
  t.same(writer.lostIn(target), [], 'every acknowledged write is there')
  t.equal(report.equal, true)
  t.equal(await hashOf(target), await hashOf(image))
})

t.test('several disks switch over together', async (t) => {
  const dir = temporary(t)
  await using server = new NbdServer()
  const socket = join(dir, 'nbd.sock')
  await server.listen({ path: socket })
  const names = ['root', 'data', 'swap']
  const sizes = [8 << 20, (12 << 20) + 512, 1 << 20]
  const sources = await Promise.all(names.map((name, index) =>
    openTap({ source: makeImage(join(dir, `${name}.source`), sizes[index]!, index), name })))
  for (const source of sources) server.add(source)
  await using receiver = await receive({
    disks: names.map((name) => ({ destination: join(dir, `${name}.destination`), name }))
  })
  const writers = await Promise.all(names.map((name) => Writer.start(socket, name, 200)))
  const report = await migrate({
    disks: sources.map((source) => ({ source })),
    destination: receiver.address,
    machine: { pause: async () => { await Promise.all(writers.map((writer) => writer.pause())) } }
  })
  for (const [index, writer] of writers.entries()) {
    await writer.stop()
    t.equal(writer.error, null)
    const name = names[index]!
    t.same(writer.lostIn(join(dir, `${name}.destination`)), [], name)
    t.equal(await hashOf(join(dir, `${name}.destination`)), await hashOf(join(dir, `${name}.source`)), name)
  }
  t.same(report.disks.map((disk) => [disk.name, disk.equal, disk.bytes.disk]),
    names.map((name, index) => [name, true, sizes[index]]))
  for (const tap of [...sources, ...receiver.taps.values()]) await tap.close()
})

t.test('out and back, again and again, over taps that stay', async (t) => {
  const dir = temporary(t)
  const image = makeImage(join(dir, 'here.img'), 8 << 20)
  const here = await openTap({ source: image, name: 'web' })
  const there = await openTap({ source: join(dir, 'there.img'), name: 'web', createSize: 8 << 20 })
  await using server = new NbdServer()
  server.add(here, { name: 'here' })
  server.add(there, { name: 'there' })
  const socket = join(dir, 'nbd.sock')
  await server.listen({ path: socket })
  let [from, to] = [{ tap: here, name: 'here' }, { tap: there, name: 'there' }]
  for (let trip = 0; trip < 6; trip++) {
    await using receiver = await receive({ disks: [{ destination: to.tap }] })
    t.equal(to.tap.state, 'refusing')
    const writer = await Writer.start(socket, from.name, 1500)
    const report = await migrate({
      disks: [{ source: from.tap }], destination: receiver.address, machine: { pause: () => writer.pause() }
    })
    await writer.stop()
    t.equal(writer.error, null, `trip ${trip}`)
    t.equal(report.equal, true)
    t.same(writer.lostIn(to.tap.source), [])
    t.equal(await hashOf(here.source), await hashOf(there.source))
    t.equal(to.tap.state, 'open');
    [from, to] = [to, from]
  }
  await here.close()
  await there.close()
})

t.test('a disk that nobody writes, from its path', async (t) => {
  const dir = temporary(t)
  const image = makeImage(join(dir, 'source.img'), (4 << 20) + 512 * 3)
  await using receiver = await receive({ disks: [{ destination: join(dir, 'target.img') }] })
  const report = await migrate({ disks: [{ source: image }], destination: receiver.address })
  t.equal(report.equal, true)
  t.ok(report.bytes.zero > 0)
  t.equal(await hashOf(join(dir, 'target.img')), await hashOf(image))
})

t.test('onto a disk that held something else', async (t) => {
  const dir = temporary(t)
  const image = makeImage(join(dir, 'source.img'), 6 << 20, 1)
  const target = makeImage(join(dir, 'target.img'), 6 << 20, 99)
  const other = await openTap({ source: target })
  const client = new NbdServer()
  client.add(other)
  const socket = join(dir, 'nbd.sock')
  await client.listen({ path: socket })
  const scribbler = await Writer.start(socket, 'disk', 1000)
  while (scribbler.writes < 500) await new Promise((resolve) => setTimeout(resolve, 5))
  await scribbler.stop()
  await client.close()
  await other.close()
  await using receiver = await receive({ disks: [{ destination: target }] })
  const report = await migrate({ disks: [{ source: image }], destination: receiver.address })
  t.equal(report.equal, true)
  t.equal(await hashOf(target), await hashOf(image), 'holes of the source are zeroes there')
})

t.test('commands: manual switchover, pause, limits, forecast', async (t) => {
  const { source, receiver, image, target } = await makePair(t)
  const migration: Migration = migrate({
    disks: [{ source }], destination: receiver.address, switchover: 'manual', budgets: { bandwidth: '10MB/s' }
  })
  await new Promise<void>((resolve) => migration.on('started', () => resolve()))
  migration.pause()
  await new Promise((resolve) => setTimeout(resolve, 200))
  const frozen = await nextProgress(migration)
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.equal((await nextProgress(migration)).remainingBytes, frozen.remainingBytes, 'nothing moves while paused')
  migration.setLimits({ bandwidth: '1GB/s' })
  t.throws(() => migration.setLimits({ downtime: 'never' }), { code: 'INVALID' })
  migration.resume()
  await new Promise<void>((resolve) => migration.on('ready', () => resolve()))
  t.equal(source.state, 'open', 'it waits')
  t.type(migration.forecast().predictedDowntimeMs, 'number')
  migration.switchover()
  t.equal((await migration).equal, true)
  t.equal(await hashOf(target), await hashOf(image))
})

async function nextProgress (migration: Migration): Promise<{ remainingBytes: number }> {
  return await new Promise((resolve) => {
    const listener = (event: { remainingBytes: number }) => {
      migration.off('progress', listener)
      resolve(event)
    }
    migration.on('progress', listener)
  })
}

t.test('a switchover at a date', async (t) => {
  const { source, receiver } = await makePair(t, 4 << 20)
  const date = new Date(Date.now() + 700)
  const report = await migrate({ disks: [{ source }], destination: receiver.address, switchover: date })
  t.ok(Date.now() >= date.getTime(), 'not before it')
  t.equal(report.equal, true)
})

t.test('a transport of one\'s own', async (t) => {
  const { source, socket } = await makePair(t, 8 << 20)
  const copy = await openTap({ source: { memory: source.size } })
  t.teardown(() => copy.close())
  const dir = temporary(t)
  const target = makeImage(join(dir, 'copy.img'), source.size, 50)
  const { open } = await import('node:fs/promises')
  const [from, to] = [await open(source.source, 'r'), await open(target, 'r+')]
  const writer = await Writer.start(socket, 'web', 1500)
  const carry = async () => {
    for (const { offset, length } of source.round('256KiB')) {
      t.ok(length > 0 && length <= 262_144)
      const { buffer } = await from.read(Buffer.alloc(length), 0, length, offset)
      await to.write(buffer, 0, length, offset)
    }
  }
  source.track()
  source.mark()
  t.equal(source.dirtyBytes, source.size)
  for (let round = 0; round < 3; round++) await carry()
  await writer.pause()
  await source.quiesce()
  t.equal(source.state, 'holding')
  await carry()
  t.equal(source.dirtyBytes, 0)
  source.refuse()
  source.untrack()
  await writer.stop()
  await from.close()
  await to.close()
  t.same(writer.lostIn(target), [])
  t.equal(await hashOf(target), await hashOf(source.source))
})
