// What an NBD client is told when the storage below loses what it has acknowledged.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t, { type Test } from 'tap'

import { NbdClient, NbdServer, openTap } from '../../lib/index.js'
import { temporary } from '../../testbed/support/images.js'
import { kNeedsRoot, loopDevice, smallDisk } from '../support/root.js'

const kMiB = 2 ** 20

/** A device that takes 64 MiB and keeps 4. */
function losingDevice (t: Test): string {
  const folder = join(temporary(t), 'full')
  smallDisk(t, folder, 4)
  const file = join(folder, 'image')
  writeFileSync(file, '')
  truncateSync(file, 64 * kMiB)
  return loopDevice(t, file)
}

/** Whether a command of qemu-io's succeeds. */
function qemuIo (socket: string, command: string): boolean {
  const uri = `nbd+unix:///web?socket=${socket}`
  return spawnSync('qemu-io', ['-f', 'raw', '-t', 'writeback', '-c', command, uri]).status === 0
}

t.test('a FUA write and a FLUSH behind lost pages are errors', { skip: kNeedsRoot }, async (t) => {
  const dir = temporary(t)
  mkdirSync(join(dir, 'run'))
  const socket = join(dir, 'run', 'nbd')
  const source = losingDevice(t)
  await using tap = await openTap({ source, name: 'web' })
  await using server = new NbdServer()
  server.add(tap)
  await server.listen({ path: socket })
  t.ok(qemuIo(socket, 'flush'), 'as long as nothing is lost')
  const client = await NbdClient.open({ path: socket, exportName: 'web' })
  for (let at = 8; at < 24; at++) await client.write(at * kMiB, Buffer.alloc(kMiB, 65))
  t.pass('they are acknowledged')
  execFileSync('sync') // the pages are written back, and lost
  t.notOk(qemuIo(socket, 'write -f -P 66 0 4k'))
  for (const behind of [1, 2]) t.notOk(qemuIo(socket, 'flush'), `FLUSH ${behind} behind it`)
  await t.rejects(client.flush(), { code: 'EIO' })
  await client.disconnect()
  await t.rejects(tap.flush(), { code: 'IO_ERROR' })
})
