// One disk under two names that have nothing in common: what it holds tells, before anything is overwritten.
import { closeSync, copyFileSync, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'

import type { Test } from 'tap'
import t from 'tap'

import type { MigrateOptions } from '../../lib/index.js'
import { migrate, NbdServer, openTap, receive } from '../../lib/index.js'
import { hashOf, makeImage, temporary } from '../support/images.js'
import { kNeedsRoot, loopDevice } from '../support/root.js'
import { Writer } from '../support/writer.js'

const kSize = 16 << 20

/** Two devices over one file that has no name any more. */
function twoNames (t: Test): { devices: [string, string], file: string } {
  const path = makeImage(join(temporary(t), 'a'), kSize)
  const devices = [loopDevice(t, path), loopDevice(t, path)] as [string, string]
  const fd = openSync(path, 'r')
  t.teardown(() => closeSync(fd))
  unlinkSync(path)
  return { devices, file: `/proc/self/fd/${fd}` }
}

async function move (source: MigrateOptions['disks'][number]['source'], target: string, options: Partial<MigrateOptions> = {}) {
  await using receiver = await receive({ disks: [{ name: 'web', target }] })
  try {
    return await migrate({ disks: [{ name: 'web', source }], destination: receiver.address, ...options })
  } finally {
    for (const tap of receiver.taps.values()) await tap.close()
  }
}

for (const reuse of [true, false]) {
  t.test(`while it is written, ${reuse ? 'with' : 'without'} reuse`, { skip: kNeedsRoot }, async (t) => {
    const { devices: [here, there], file } = twoNames(t)
    await using tap = await openTap({ source: here })
    await using server = new NbdServer()
    server.add(tap, { name: 'web' })
    const path = join(temporary(t), 'socket')
    await server.listen({ path })
    const writer = await Writer.start(path, 'web', 1000)
    const machine = { pause: () => writer.pause(), resume: () => writer.resume() }
    await t.rejects(move(tap, there, { machine, reuse, budgets: { bandwidth: 20e6 } }), {
      code: 'REFUSED', owner: 'source', message: /the disk itself that is to move/
    })
    await writer.pause()
    await tap.flush()
    t.equal(writer.error, null)
    t.ok(writer.writes > 100, `${writer.writes} writes`)
    t.same(writer.lostIn(file), [])
    await writer.stop()
  })
}

t.test('while nobody writes', { skip: kNeedsRoot }, async (t) => {
  const { devices: [here, there], file } = twoNames(t)
  const before = readFileSync(file)
  await t.rejects(move(here, there, { reuse: false }), { code: 'REFUSED', message: /can't be told from it/ })
  t.ok(before.equals(readFileSync(file)))
})

t.test('a copy is another disk', async (t) => {
  const dir = temporary(t)
  const source = makeImage(join(dir, 'a'), 64 << 20)
  const target = join(dir, 'b')
  copyFileSync(source, target)
  t.equal((await move(source, target)).equal, true, 'nothing is to be overwritten')
  for (const reuse of [true, false]) {
    const fd = openSync(target, 'r+')
    writeSync(fd, 'a block that differs', (40 << 20) + 4096)
    closeSync(fd)
    t.equal((await move(source, target, { reuse })).equal, true)
    t.equal(await hashOf(target), await hashOf(source))
  }
})
