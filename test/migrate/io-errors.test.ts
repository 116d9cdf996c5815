// A disk fails, at the source or at the destination, while it is copied or in the pause: an
// error that says so, the writer writes on, and when the disk is mended it moves.
import { closeSync, ftruncateSync, openSync } from 'node:fs'
import { join } from 'node:path'

import type { Test } from 'tap'
import t from 'tap'

import type { Migration, MigrateOptions } from '../../lib/index.js'
import { migrate, NbdServer, openTap, receive } from '../../lib/index.js'
import { NbdClient } from '../../lib/nbd/client.js'
import { faultyFile, kNeedsFuse } from '../support/faulty-file.js'
import type { FaultyFile } from '../support/faulty-file.js'
import { makeImage, noise, temporary } from '../../testbed/support/images.js'
import type { Pair } from '../support/pair.js'
import { makePair } from '../support/pair.js'
import { kNeedsRoot, smallDisk } from '../support/root.js'
import { checkUnharmed, failureOf, reach } from '../support/unharmed.js'
import { Writer } from '../../testbed/support/writer.js'

const kSize = 16 << 20

interface Faulty { pair: Pair, source: FaultyFile, target: FaultyFile, writer: Writer }

/** A pair whose disks both can be made to fail; with direct I/O. */
async function start (t: Test): Promise<Faulty> {
  const dir = temporary(t)
  const image = makeImage(join(dir, 'source.img'), kSize)
  const target = join(dir, 'target.img')
  const fd = openSync(target, 'w')
  ftruncateSync(fd, kSize)
  closeSync(fd)
  const files = { source: await faultyFile(t, image), target: await faultyFile(t, target) }
  const source = await openTap({ source: files.source.path, name: 'web', direct: true })
  const server = new NbdServer()
  server.add(source)
  const socket = join(dir, 'nbd.sock')
  await server.listen({ path: socket })
  const receiver = await receive({
    disks: [{ destination: files.target.path, name: 'web', direct: true }]
  })
  t.teardown(async () => {
    await receiver.close()
    for (const tap of receiver.taps.values()) await tap.close()
    await server.close()
    await source.close()
  })
  const writer = await Writer.start(socket, 'web', 1000, 1)
  return { pair: { dir, source, receiver, socket, image, target }, ...files, writer }
}

const slow: Partial<MigrateOptions> = { budgets: { bandwidth: '8MB/s' }, compression: 'off' }
const faults = [
  ['the source cannot be read', 'source', 'reads'],
  ['the destination cannot be written', 'target', 'writes'],
  ['the destination cannot be read again', 'target', 'reads']
] as const
const moments: Array<[string, Partial<MigrateOptions>, (m: Migration) => Promise<void>]> = [
  ['in the bulk copy', slow, (m) => reach(m, 'progress', ({ sentBytes }) => sentBytes > 4e6)],
  ['in the rounds', { switchover: 'manual' }, (m) => reach(m, 'ready')]
]

for (const [what, which, requests] of faults) {
  for (const [when, options, moment] of moments) {
    t.test(`${what} ${when}`, { skip: kNeedsFuse }, async (t) => {
      const faulty = await start(t)
      const { pair, writer } = faulty
      const migration = migrate({
        disks: [{ source: pair.source }], destination: pair.receiver.address, ...options
      })
      void moment(migration).then(() => faulty[which].fail(requests))
      const error = await failureOf(migration)
      t.match(error, { code: 'IO_ERROR', owner: 'source', resumable: true })
      t.equal(error.message.startsWith('destination: '), which === 'target', error.message)
      faulty[which].mend()
      await checkUnharmed(t, pair, writer)
    })
  }

  t.test(`${what} in the pause`, { skip: kNeedsFuse }, async (t) => {
    const faulty = await start(t)
    const { pair, writer } = faulty
    const client = await NbdClient.open({ path: pair.socket, exportName: 'web' })
    let resumed = 0
    const migration = migrate({
      disks: [{ source: pair.source }],
      destination: pair.receiver.address,
      machine: {
        pause: async () => {
          // First: what is written may be read and sent at once.
          faulty[which].fail(requests)
          await client.write(5 << 20, noise(100, 4096))
        },
        resume: () => { resumed++ }
      }
    })
    t.match(await failureOf(migration), { code: 'IO_ERROR', owner: 'source', resumable: true })
    t.equal(resumed, 1)
    faulty[which].mend()
    await client.disconnect()
    await checkUnharmed(t, pair, writer)
  })
}

t.test('the destination is full in the pause', { skip: kNeedsRoot }, async (t) => {
  const pair = await makePair(t, kSize)
  const small = smallDisk(t, join(pair.dir, 'small'), 10)
  const target = join(small.path, 'target.img')
  await using receiver = await receive({ disks: [{ destination: target, name: 'web' }] })
  const writer = await Writer.start(pair.socket, 'web', 250, 1)
  const client = await NbdClient.open({ path: pair.socket, exportName: 'web' })
  const calls: string[] = []
  const error = await failureOf(migrate({
    disks: [{ source: pair.source }],
    destination: receiver.address,
    machine: {
      pause: async () => {
        calls.push('pause')
        for (const hole of [2, 4, 6]) await client.write(hole << 20, noise(hole, 1 << 20))
      },
      resume: () => { calls.push('resume') }
    }
  }))
  t.match(error, { code: 'NO_SPACE', owner: 'source', resumable: true })
  t.same(calls, ['pause', 'resume'])
  await client.disconnect()
  small.grow(32)
  await checkUnharmed(t, pair, writer, receiver.address, target)
  for (const tap of receiver.taps.values()) await tap.close()
})
