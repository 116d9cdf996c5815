// Map files as a user of the library meets them.
import { chmodSync, closeSync, existsSync, openSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import type { Tap } from '../../lib/index.js'
import { migrate, NbdServer, openTap, receive } from '../../lib/index.js'
import { NbdClient } from '../../lib/nbd/client.js'
import { hashOf, makeImage, temporary } from '../../testbed/support/images.js'
import { keepStatistics, kNeedsRoot, loopDevice, replaceLoopFile } from '../support/root.js'
import { failureOf } from '../support/unharmed.js'

const kSize = 8 << 20

async function writeThrough (tap: Tap, socket: string, offset: number, bytes: Buffer): Promise<void> {
  await using server = new NbdServer()
  server.add(tap)
  await server.listen(`unix:${socket}`)
  const client = await NbdClient.open({ path: socket, exportName: tap.name })
  await client.write(offset, bytes)
  await client.disconnect()
}

t.test('options that make no sense', async (t) => {
  const dir = temporary(t)
  const [source, map] = [makeImage(join(dir, 'a.img'), kSize), join(dir, 'a.map')]
  const cases: Array<[Parameters<typeof openTap>[0], string]> = [
    [{ source: { memory: kSize }, map }, 'INVALID'],
    [{ source, map: '' }, 'INVALID'],
    [{ source, map: { path: map, blockSize: 5000 } }, 'INVALID'],
    [{ source, map: join(dir, 'no', 'map') }, 'NOT_FOUND'],
    [{ source, map: dir }, 'IS_DIRECTORY'],
    [{ source, map: '/dev/null' }, 'REFUSED']
  ]
  for (const [options, code] of cases) {
    t.equal((await failureOf(openTap(options))).code, code, JSON.stringify(options))
  }
  t.notOk(existsSync(map))
  writeFileSync(map, '')
  chmodSync(map, 0o622)
  t.equal((await failureOf(openTap({ source, map }))).code, 'NO_PERMISSION', 'others can write it')
})

t.test('a tap that has one tracks all the time', async (t) => {
  const dir = temporary(t)
  const source = makeImage(join(dir, 'a.img'), kSize)
  const map = { path: join(dir, 'a.map'), blockSize: '64KiB' }
  await using tap = await openTap({ source, map })
  t.equal(tap.mapBlockSize, 65536)
  t.equal(tap.rememberedBytes, 0)
  t.equal(statSync(map.path).mode & 0o777, 0o600)
  t.throws(() => tap.track(), { code: 'INVALID' })
  t.throws(() => tap.untrack(), { code: 'INVALID' })
  t.equal((await failureOf(openTap({ source, force: true, map }))).code, 'BUSY')
  await using receiver = await receive({ disks: [{ destination: join(dir, 'b.img') }] })
  const wrong = migrate({ disks: [{ source: tap }], destination: receiver.address })
  t.match(await failureOf(wrong), { code: 'INVALID', message: /65536/, owner: 'source' })
  await migrate({ disks: [{ source: tap }], destination: receiver.address, blockSize: '64KiB' })
  t.equal(tap.rememberedBytes, kSize, 'all was sent, and nothing changed')
})

t.test('what a transport of one\'s own takes is not remembered', async (t) => {
  const dir = temporary(t)
  const [path, target] = [makeImage(join(dir, 'a.img'), kSize), join(dir, 'b.img')]
  await using source = await openTap({ source: path, map: join(dir, 'a.map') })
  const move = async (switchover: 'auto' | 'manual') => {
    await using receiver = await receive({ disks: [{ destination: target }] })
    const migration = migrate({ disks: [{ source }], destination: receiver.address, switchover })
    migration.on('progress', () => {
      if (switchover === 'manual' && source.rememberedBytes === kSize) migration.cancel()
    })
    return await migration
  }
  t.equal((await failureOf(move('manual'))).code, 'CANCELLED')
  t.equal(source.rememberedBytes, kSize)
  await writeThrough(source, join(dir, 'nbd'), 4096, Buffer.alloc(8192, 7))
  t.same([...source.round()], [{ offset: 4096, length: 8192 }])
  t.equal(source.rememberedBytes, 0)
  await move('auto')
  t.equal(await hashOf(target), await hashOf(path))
})

t.test('a disk of an odd size that comes back', async (t) => {
  const dir = temporary(t)
  const size = kSize + 512
  const [here, there] = [makeImage(join(dir, 'a.img'), size), join(dir, 'b.img')]
  const move = async (from: string, to: string) => {
    await using source = await openTap({ source: from, map: `${from}.map` })
    const remembered = source.rememberedBytes
    await using target = await openTap({ source: to, createSize: size, map: `${to}.map` })
    await using receiver = await receive({ disks: [{ destination: target }] })
    const report = await migrate({ disks: [{ source }], destination: receiver.address })
    t.equal(report.equal, true)
    t.equal(await hashOf(from), await hashOf(to))
    return remembered
  }
  t.equal(await move(here, there), 0)
  t.equal(await move(there, here), 0, 'what came by migration is not remembered')
  t.equal(await move(here, there), 0, 'nor what it was before that')
})

t.test('a device that was written past its tap, or is another', { skip: kNeedsRoot }, async (t) => {
  const dir = temporary(t)
  const source = loopDevice(t, makeImage(join(dir, 'a.img'), kSize))
  const copy = join(dir, 'b.img')
  /** Sends everything, and answers what was remembered before that. */
  const send = async () => {
    await using tap = await openTap({ source, map: join(dir, 'map') })
    const remembered = tap.rememberedBytes
    await using target = await openTap({ source: copy, createSize: kSize })
    await using receiver = await receive({ disks: [{ destination: target }] })
    await migrate({ disks: [{ source: tap }], destination: receiver.address })
    return remembered
  }
  t.equal(await send(), 0)
  t.equal(await send(), kSize, 'nobody has written it')
  keepStatistics(source, false)
  t.equal(await send(), 0, 'it can\'t be told whether somebody has')
  keepStatistics(source, true)
  t.equal(await send(), 0)
  t.equal(await send(), kSize)
  const fd = openSync(source, 'r+')
  writeSync(fd, Buffer.alloc(4096, 9), 0, 4096, 1 << 20)
  t.equal(await send(), 0, 'what was written is still in the page cache')
  closeSync(fd)
  t.equal(await hashOf(copy), await hashOf(source))
  t.equal(await send(), kSize)
  replaceLoopFile(source, makeImage(join(dir, 'c.img'), kSize, 2))
  t.equal(await send(), 0, 'another disk under its name')
})
