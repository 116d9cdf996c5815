// One disk under two names that have nothing in common: what it holds tells, before anything is overwritten.
import { closeSync, copyFileSync, ftruncateSync, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'

import type { Test } from 'tap'
import t from 'tap'

import type { MigrateOptions } from '../../lib/index.js'
import { migrate, NbdServer, openTap, receive } from '../../lib/index.js'
import { NbdClient } from '../../lib/nbd/client.js'
import { hashOf, makeImage, noise, temporary } from '../../testbed/support/images.js'
import { Proxy } from '../support/proxy.js'
import { kNeedsRoot, loopDevice } from '../support/root.js'
import { reach } from '../support/unharmed.js'
import { Writer } from '../../testbed/support/writer.js'

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
  await using receiver = await receive({ disks: [{ name: 'web', destination: target }] })
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

t.test('a block that goes back and forth between two contents', { skip: kNeedsRoot }, async (t) => {
  const { devices: [here, there] } = twoNames(t)
  await using tap = await openTap({ source: here })
  await using server = new NbdServer()
  server.add(tap, { name: 'web' })
  const path = join(temporary(t), 'socket')
  await server.listen({ path })
  const client = await NbdClient.open({ path, exportName: 'web' })
  const contents = [Buffer.alloc(4096, 1), Buffer.alloc(4096, 2)] as const
  let isOver = false
  const writing = (async () => {
    for (let i = 0; !isOver; i++) await client.write(8 << 20, contents[i % 2]!)
  })()
  await t.rejects(move(tap, there, { reuse: false }), { code: 'REFUSED', message: /the disk itself that is to move/ })
  isOver = true
  await writing
  await client.disconnect()
})

t.test('while nobody writes', { skip: kNeedsRoot }, async (t) => {
  const { devices: [here, there], file } = twoNames(t)
  const before = readFileSync(file)
  await t.rejects(move(here, there, { reuse: false }), { code: 'REFUSED', message: /can't be told from it/ })
  t.ok(before.equals(readFileSync(file)))
})

t.test('a large copy in which one block differs', async (t) => {
  const dir = temporary(t)
  const paths = [join(dir, 'a'), join(dir, 'b')] as const
  for (const [index, path] of paths.entries()) {
    const fd = openSync(path, 'w')
    ftruncateSync(fd, 8 * 2 ** 30)
    writeSync(fd, noise(1, 16 << 20), 0, undefined, 6 * 2 ** 30)
    writeSync(fd, `content ${index}`, 6 * 2 ** 30 + 8192)
    closeSync(fd)
  }
  const { equal, bytes } = await move(paths[0], paths[1])
  t.equal(equal, true)
  t.ok(bytes.sent > 0 && bytes.sent < 65536, `${bytes.sent}`)
})

t.test('a copy, while the same is written again', async (t) => {
  const dir = temporary(t)
  const [source, target] = [makeImage(join(dir, 'a'), kSize), join(dir, 'b')] as const
  copyFileSync(source, target)
  await using tap = await openTap({ source })
  await using server = new NbdServer()
  server.add(tap, { name: 'web' })
  const path = join(dir, 'socket')
  await server.listen({ path })
  const client = await NbdClient.open({ path, exportName: 'web' })
  const content = readFileSync(source)
  let isOver = false
  let writes = 0
  const writing = (async () => {
    for (; !isOver; writes++) {
      const at = writes * 7919 % (kSize / 4096) * 4096
      await client.write(at, content.subarray(at, at + 4096))
    }
  })()
  const machine = { pause: async () => { isOver = true; await writing } }
  const { equal, bytes } = await move(tap, target, { machine })
  t.equal(equal, true)
  t.equal(bytes.sent, 0)
  t.ok(writes > 10, `${writes} writes`)
  await client.disconnect()
  t.equal(await hashOf(target), await hashOf(source))
})

t.test('after the link was lost the file is still the one that was made', async (t) => {
  const dir = temporary(t)
  const source = join(dir, 'a')
  const fd = openSync(source, 'w')
  ftruncateSync(fd, kSize)
  writeSync(fd, noise(1, 1 << 20))
  closeSync(fd)
  await using receiver = await receive({ disks: [{ name: 'web', destination: join(dir, 'b') }] })
  const link = await Proxy.to(receiver.address)
  t.teardown(() => link.close())
  const migration = migrate({
    disks: [{ name: 'web', source }], destination: link.address, reuse: false, switchover: 'manual'
  })
  await reach(migration, 'ready')
  migration.on('reconnecting', () => link.restore())
  migration.on('reconnected', () => migration.switchover())
  link.cut()
  t.equal((await migration).equal, true)
  for (const tap of receiver.taps.values()) await tap.close()
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
