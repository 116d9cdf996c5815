// A disk that nobody may write is written all the same while it is copied: that is noticed before the
// destination gets it.
import { chmodSync, closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'

import type { Test } from 'tap'
import t from 'tap'

import type { MigrateOptions, Migration, Tap } from '../../lib/index.js'
import { migrate, openTap, receive } from '../../lib/index.js'
import { makeImage, temporary } from '../../testbed/support/images.js'
import { keepStatistics, kNeedsRoot, loopDevice } from '../support/root.js'

const kSize = 4 << 20

/** As another program would, past every tap. */
function write (path: string): void {
  const fd = openSync(path, 'r+')
  writeSync(fd, Buffer.alloc(4096, 7), 0, 4096, 0)
  closeSync(fd)
}

/** A migration during which something is done. */
async function moveWhile (
  t: Test, source: string | Tap, during: (migration: Migration) => void, machine?: MigrateOptions['machine']
) {
  await using receiver = await receive({ disks: [{ destination: join(temporary(t), 'target') }] })
  const migration = migrate({
    disks: [{ source }], destination: receiver.address, ...(machine !== undefined && { machine })
  })
  during(migration)
  try {
    return await migration
  } finally {
    for (const tap of receiver.taps.values()) await tap.close()
  }
}

const kWritten = { code: 'NOT_EQUAL', owner: 'source', message: /another program has written/ }

t.test('a file', async (t) => {
  const source = makeImage(join(temporary(t), 'image'), kSize)
  await t.rejects(moveWhile(t, source, (migration) => migration.on('started', () => write(source))), kWritten)
  const report = await moveWhile(t, source, () => {})
  t.match(report, { equal: true, disks: [{ refused: false }] }, 'nobody writes: it moves, and nothing is refused')
})

t.test('a device', { skip: kNeedsRoot }, async (t) => {
  const source = loopDevice(t, makeImage(join(temporary(t), 'image'), kSize))
  await t.rejects(moveWhile(t, source, (migration) => migration.on('started', () => write(source))), kWritten)
  t.equal((await moveWhile(t, source, () => {})).equal, true)
})

t.test('a device whose writes the kernel does not count any more', { skip: kNeedsRoot }, async (t) => {
  const source = loopDevice(t, makeImage(join(temporary(t), 'image'), kSize))
  t.teardown(() => keepStatistics(source, true))
  const stop = (migration: Migration) => migration.on('started', () => keepStatistics(source, false))
  await t.rejects(moveWhile(t, source, stop), { code: 'UNACCOUNTED', owner: 'source' })
})

t.test('a tap that is open for reading only', async (t) => {
  const path = makeImage(join(temporary(t), 'image'), kSize)
  await using source = await openTap({ source: path, readOnly: true })
  await t.rejects(moveWhile(t, source, (migration) => migration.on('started', () => write(path))), kWritten)
  t.equal(source.state, 'open')
  t.match(await moveWhile(t, source, () => {}), { disks: [{ refused: true }] })
})

t.test('in the pause', async (t) => {
  const source = makeImage(join(temporary(t), 'image'), kSize)
  const machine = { pause: () => write(source), resume: () => {} }
  await t.rejects(moveWhile(t, source, () => {}, machine), kWritten)
})

t.test('just before the commit', async (t) => {
  const source = makeImage(join(temporary(t), 'image'), kSize)
  const late = (migration: Migration) => migration.on('switchover', ({ step }) => {
    if (step === 'residual') write(source)
  })
  await t.rejects(moveWhile(t, source, late), kWritten)
})

t.test('what looks like a write', async (t) => {
  const source = makeImage(join(temporary(t), 'image'), kSize)
  await t.rejects(
    moveWhile(t, source, (migration) => migration.on('started', () => chmodSync(source, 0o600))), kWritten)
})
