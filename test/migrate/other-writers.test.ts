// A disk that is served is written past its tap while it is copied.
import { execFileSync } from 'node:child_process'
import { closeSync, copyFileSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

import type { Test } from 'tap'
import t from 'tap'

import type { BlockferryError, Migration } from '../../lib/index.js'
import { migrate, openTap } from '../../lib/index.js'
import { hashOf, makeImage, temporary } from '../../testbed/support/images.js'
import { writerOf } from '../support/other-program.js'
import { makePair, type Pair } from '../support/pair.js'
import { kNeedsRoot } from '../support/root.js'
import { checkUnharmed, reach } from '../support/unharmed.js'
import { Writer } from '../../testbed/support/writer.js'

/** Where the writer through the tap does not write. */
const kElsewhere = 13 << 20

/** As another program would, past every tap; again something else. */
function write (path: string, content: string): void {
  const fd = openSync(path, 'r+')
  writeSync(fd, content, kElsewhere)
  closeSync(fd)
}

/** Under a writer through the tap, with a bandwidth that lets it be copied for a second. */
async function begin (t: Test): Promise<{ pair: Pair, writer: Writer, start: (switchover?: 'auto' | 'manual') => Migration }> {
  const pair = await makePair(t)
  const writer = await Writer.start(pair.socket, 'web', 1000)
  const start = (switchover: 'auto' | 'manual' = 'auto') => migrate({
    switchover,
    disks: [{ source: pair.source }],
    destination: pair.receiver.address,
    machine: { pause: () => writer.pause(), resume: () => writer.resume() },
    budgets: { bandwidth: '20MB/s' }
  })
  return { pair, writer, start }
}

const moments: Array<[string, (migration: Migration, once: () => void) => void]> = [
  ['while it copies', (migration, once) => migration.on('round', once)],
  ['in the pause', (migration, once) => migration.on('switchover', ({ step }) => { if (step === 'pause') once() })],
  ['before the commit', (migration, once) => migration.on('switchover', ({ step }) => { if (step === 'residual') once() })]
]
for (const [when, at] of moments) {
  t.test(`${when}: all of it is compared`, async (t) => {
    const { pair, writer, start } = await begin(t)
    const migration = start()
    const errors: BlockferryError[] = []
    migration.on('reconnecting', ({ error }) => errors.push(error))
    let isDone = false
    at(migration, () => {
      if (!isDone) write(pair.image, when)
      isDone = true
    })
    t.equal((await migration).equal, true)
    await writer.stop()
    t.match(errors, [{ code: 'UNACCOUNTED', message: /another program had web/ }])
    t.same(writer.lostIn(pair.target), [])
    t.match(String(readFileSync(pair.target).subarray(kElsewhere, kElsewhere + when.length)), when)
    t.equal(await hashOf(pair.target), await hashOf(pair.image))
  })
}

t.test('who goes on writing it keeps it here', async (t) => {
  const { pair, writer, start } = await begin(t)
  const { end } = await writerOf(t, pair.image)
  await t.rejects(start(), { code: 'BUSY', owner: 'source', message: /in use by sh/ }, 'from the beginning')
  await end()
  const migration = start('manual')
  await reach(migration, 'ready')
  const later = await writerOf(t, pair.image)
  migration.switchover()
  await t.rejects(migration, { code: 'BUSY', owner: 'source', message: /in use by sh/ }, 'later')
  await later.end()
  await checkUnharmed(t, pair, writer)
})

for (const when of ['between two attempts', 'in one that fails']) {
  t.test(`${when}, of a disk with a map file: nothing is remembered`, async (t) => {
    const { dir, image, target, receiver } = await makePair(t)
    const path = join(dir, 'copy.img')
    copyFileSync(image, path)
    await using source = await openTap({ source: path, name: 'web', map: join(dir, 'map') })
    const start = (switchover: 'auto' | 'manual') => (
      migrate({ disks: [{ source }], destination: receiver.address, switchover }))
    const first = start('manual')
    await reach(first, 'ready')
    if (when === 'in one that fails') {
      const { end } = await writerOf(t, path)
      first.switchover()
      await t.rejects(first, { code: 'BUSY' })
      write(path, when)
      await end()
    } else {
      first.cancel()
      await t.rejects(first, { code: 'CANCELLED' })
      write(path, when)
    }
    t.equal((await start('auto')).equal, true)
    t.equal(await hashOf(target), await hashOf(path))
  })
}

t.test('who only reads does not', async (t) => {
  const { pair, writer, start } = await begin(t)
  const migration = start('manual')
  await reach(migration, 'ready')
  await hashOf(pair.image)
  migration.switchover()
  t.equal((await migration).equal, true)
  await writer.stop()
})

t.test('who knows better', async (t) => {
  const { dir, image, receiver } = await makePair(t)
  const path = join(dir, 'copy.img')
  copyFileSync(image, path)
  const { end } = await writerOf(t, path)
  await using source = await openTap({ source: path, name: 'web', force: true })
  t.equal((await migrate({ disks: [{ source }], destination: receiver.address })).equal, true)
  await end()
})

/** Moves the disk `source`; once it is copied another program opens it. Prints how that went. */
const kProgram = `
  import { spawn } from 'node:child_process'
  import { once } from 'node:events'
  const { migrate, openTap, receive } = await import(process.argv[1])
  const [source, target] = process.argv.slice(2)
  const receiver = await receive({ disks: [{ destination: target }] })
  const tap = await openTap({ source })
  const migration = migrate({ disks: [{ source: tap }], destination: receiver.address, switchover: 'manual' })
  await new Promise((resolve) => migration.on('ready', resolve))
  const other = spawn('sh', ['-c', 'exec 3<>"$0"; echo open; read line', source], { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(other.stdout, 'data')
  migration.switchover()
  console.log(await migration.then(() => 'moved', ({ code }) => code))
  process.exit()`

t.test('where the kernel tells of nobody', { skip: kNeedsRoot }, async (t) => {
  const dir = temporary(t)
  const source = makeImage(join(dir, 'a'), 1 << 20)
  const library = new URL('../../lib/index.js', import.meta.url).href
  const program = [process.execPath, '--input-type=module', '--eval', kProgram, library, source, join(dir, 'b')]
  const limits = (count: number) => `echo ${count} > /proc/sys/user/max_inotify_instances; exec "$@"`
  for (const count of [0, 100]) {
    const said = execFileSync('unshare', ['--user', '--map-root-user', 'sh', '-c', limits(count), 'sh', ...program], { encoding: 'utf8' })
    t.equal(said.trim(), 'BUSY', `with ${count} watches at most`)
  }
})
