// A destination that is larger than the disk, as storage rounds sizes up: the disk stays as large as it
// was, wherever it goes, and what lies behind its end there is nobody's.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Test } from 'tap'
import t from 'tap'

import type { ReceiveOptions, Tap } from '../../lib/index.js'
import { Journal, migrate, NbdClient, NbdServer, openTap, receive } from '../../lib/index.js'
import { InMemoryMachine } from '../../lib/machine/in-memory.js'
import { noise, temporary } from '../../testbed/support/images.js'
import { failureOf } from '../support/unharmed.js'

const kMiB = 2 ** 20
/** Ends inside a block, and inside a sector of 4 KiB. */
const kSize = 4 * kMiB + 3072

/** A file, and what it holds behind the end of the disk. */
function storage (path: string, size: number, seed: number): { path: string, behind: Buffer } {
  const bytes = noise(seed, size)
  writeFileSync(path, bytes)
  return { path, behind: bytes.subarray(kSize) }
}

async function served (t: Test, tap: Tap, socket: string): Promise<NbdServer> {
  const server = new NbdServer()
  server.add(tap)
  await server.listen({ path: socket })
  t.teardown(async () => { await server.close() })
  return server
}

/** Moves a disk from one open tap to another; what the destination tells. */
async function move (source: Tap | string, target: Tap | string, options: Partial<ReceiveOptions> = {}) {
  await using receiver = await receive({ disks: [{ destination: target, name: 'web' }], ...options })
  const done = new Promise<any>((resolve) => receiver.on('done', ({ report }) => resolve(report)))
  const migration = migrate({ disks: [{ source, name: 'web' }], destination: receiver.address })
  const started = new Promise<any>((resolve) => migration.on('started', resolve))
  await migration
  return { tap: receiver.taps.get('web')!, report: await done, started: await started }
}

t.test('to larger storage, to larger still, and back to where there is no more room than before', async (t) => {
  const dir = temporary(t)
  const first = noise(1, kSize)
  writeFileSync(join(dir, 'a'), first)
  const b = storage(join(dir, 'b'), 6 * kMiB, 2)
  const c = storage(join(dir, 'c'), 9 * kMiB, 3)
  await using a = await openTap({ source: join(dir, 'a'), name: 'web' })

  const there = await move(a, b.path)
  await using onB = there.tap
  t.equal(onB.size, kSize, 'the disk is as large as before')
  t.equal(onB.capacity, 6 * kMiB)
  t.match(there.report, { disks: [{ name: 'web', bytes: kSize, capacity: 6 * kMiB }] })
  t.same(there.started.disks, [{ name: 'web', bytes: kSize }])
  const server = await served(t, onB, join(dir, 'b.nbd'))
  const client = await NbdClient.open({ path: join(dir, 'b.nbd'), exportName: 'web' })
  t.equal(client.size, kSize, 'its users are told so')
  const end = noise(8, 512)
  await client.write(kSize - 512, end)
  await t.rejects(client.read(kSize, 512), 'what lies behind can\'t be read')
  await t.rejects(client.write(kSize, end), 'nor written')
  await client.disconnect()
  await server.close()

  await using onC = (await move(onB, c.path)).tap
  t.equal(onC.size, kSize)
  await move(onC, a)
  t.equal(a.size, kSize)
  first.set(end, kSize - 512)
  for (const { path, behind } of [b, c]) {
    const bytes = readFileSync(path)
    t.ok(bytes.subarray(0, kSize).equals(first), 'the disk is what it was')
    t.ok(bytes.subarray(kSize).equals(behind), 'what lies behind is not touched')
  }
  t.ok(readFileSync(join(dir, 'a')).equals(first), 'and back')
})

t.test('a disk that is served already comes as large as it is', async (t) => {
  const dir = temporary(t)
  writeFileSync(join(dir, 'a'), noise(1, kSize))
  await using target = await openTap({ source: storage(join(dir, 'b'), 6 * kMiB, 2).path, name: 'web' })
  target.refuse()
  await served(t, target, join(dir, 'b.nbd'))
  const early = await NbdClient.open({ path: join(dir, 'b.nbd'), exportName: 'web' })
  t.equal(early.size, 6 * kMiB)
  const error = await failureOf(move(join(dir, 'a'), target))
  t.match(error, { code: 'BAD_SIZE', owner: 'source', message: `--size web=${kSize}` }, 'not while somebody was told of another size')
  t.equal(target.size, 6 * kMiB)
  await early.disconnect()
  const network = { prepare: () => { throw new Error('no') }, switchOver: () => {}, undo: () => {} }
  await failureOf(move(join(dir, 'a'), target, { network }))
  t.equal(target.size, 6 * kMiB, 'a disk that does not come after all changes nothing')
  await move(join(dir, 'a'), target)
  const late = await NbdClient.open({ path: join(dir, 'b.nbd'), exportName: 'web' })
  t.equal(late.size, kSize)
  await late.disconnect()
})

t.test('a map file is of one size', async (t) => {
  const dir = temporary(t)
  writeFileSync(join(dir, 'a'), noise(1, kSize))
  const { path } = storage(join(dir, 'b'), 6 * kMiB, 2)
  const whole = await openTap({ source: path, name: 'web', map: join(dir, 'map') })
  whole.refuse()
  t.match(await failureOf(move(join(dir, 'a'), whole)), { code: 'BAD_SIZE' })
  await whole.close()
  await using part = await openTap({ source: path, name: 'web', size: kSize, map: join(dir, 'part.map') })
  part.refuse()
  await move(join(dir, 'a'), part)
  t.equal(part.size, kSize)
})

t.test('by its path again: its size is the journal\'s, or has to be said', async (t) => {
  const dir = temporary(t)
  const image = noise(1, kSize)
  writeFileSync(join(dir, 'a'), image)
  const { path } = storage(join(dir, 'b'), 6 * kMiB, 2)
  const journal = join(dir, 'journal')
  const { tap } = await move(join(dir, 'a'), path, { journal })
  await tap.close()

  const back = async (options: object, how: object = {}) => {
    writeFileSync(join(dir, 'back'), Buffer.alloc(kSize))
    await using receiver = await receive({ disks: [{ destination: join(dir, 'back') }] })
    await migrate({ disks: [{ source: path, name: 'disk', ...how }], destination: receiver.address, ...options })
    for (const tap of receiver.taps.values()) await tap.close()
    return readFileSync(join(dir, 'back'))
  }
  const missing = { disks: [{ source: join(dir, 'missing') }], destination: '127.0.0.1:1', journal: join(dir, 'new') }
  t.match(await failureOf(migrate(missing)), { code: 'NOT_FOUND' })
  t.notOk(existsSync(join(dir, 'new')), 'to ask makes no journal')
  t.match(await failureOf(back({})), { code: 'TOO_SMALL' }, 'nobody knows')
  t.match(await failureOf(back({}, { size: 7 * kMiB })), { code: 'TOO_SMALL' }, 'larger than what it lies on')
  t.ok((await back({}, { size: kSize })).equals(image))

  const known = async () => {
    await using opened = await Journal.open(journal)
    return opened.sizeOf('web')
  }
  t.equal(await known(), kSize)
  const gone = { source: path, name: 'web' }
  await failureOf(migrate({ disks: [gone], destination: '127.0.0.1:1', journal, reconnect: 0 }))
  t.equal(await known(), kSize, 'also when it has been tried in vain')
  writeFileSync(join(dir, 'back'), Buffer.alloc(kSize))
  await using receiver = await receive({ disks: [{ destination: join(dir, 'back'), name: 'web' }] })
  await migrate({ disks: [gone], destination: receiver.address, journal })
  t.equal(await known(), kSize, 'and when it has moved away')
  t.ok(readFileSync(join(dir, 'back')).equals(image))
  for (const tap of receiver.taps.values()) await tap.close()
})

t.test('a disk that fills its storage grows with it: a journal remembers no size', async (t) => {
  const dir = temporary(t)
  writeFileSync(join(dir, 'a'), noise(1, kSize))
  const journal = join(dir, 'journal')
  const { tap } = await move(join(dir, 'a'), join(dir, 'b'), { journal })
  await tap.close()
  await using opened = await Journal.open(journal)
  t.equal(opened.ownershipOf('web')?.whereabouts, 'here')
  t.equal(opened.sizeOf('web'), null)
})

class DirectMachine extends InMemoryMachine {
  get opensDisks (): boolean {
    return true
  }
}

t.test('a machine that opens the storage itself would see all of it', async (t) => {
  const dir = temporary(t)
  writeFileSync(join(dir, 'a'), noise(1, kSize))
  const { path } = storage(join(dir, 'b'), 6 * kMiB, 2)
  const attempt = async (target: string, force: boolean) => {
    await using receiver = await receive({
      disks: [{ destination: target, name: 'web', force }], machine: new DirectMachine(kMiB, { running: false })
    })
    await migrate({
      disks: [{ source: join(dir, 'a'), name: 'web' }], destination: receiver.address, machine: new InMemoryMachine(kMiB)
    })
    for (const tap of receiver.taps.values()) await tap.close()
  }
  t.match(await failureOf(attempt(path, false)), { code: 'BAD_SIZE', owner: 'source' })
  await t.resolves(attempt(path, true))
  await t.resolves(attempt(join(dir, 'c'), false), 'one that is as large as the disk hides nothing')
})
