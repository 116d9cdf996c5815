// In the lab: the kernel's own NBD client on a tap. What it reads is what the disk holds, what it
// writes and discards is on it, and an ext4 under load on it moves.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'

import t, { type Test } from 'tap'

import { migrate } from '../../../lib/index.js'
import { contentOf, differing, fio, freeze, mountedExt4, seedOf, thaw } from '../../support/bpf.js'
import { makePair, type Pair } from '../../support/pair.js'

const kDevice = '/dev/nbd0'
const kBytes = 64 << 20

execFileSync('modprobe', ['nbd', 'nbds_max=1'])

function attach (t: Test, { socket }: Pair): void {
  const options = ['-N', 'web', '-b', '4096', '-C', '2']
  execFileSync('nbd-client', ['-unix', socket, kDevice, ...options], { stdio: 'ignore' })
  t.teardown(() => execFileSync('nbd-client', ['-d', kDevice], { stdio: 'ignore' }))
}

t.test('reads and writes', async (t) => {
  const pair = await makePair(t, kBytes)
  attach(t, pair)
  t.same(differing(readFileSync(pair.image), contentOf(kDevice)), [], 'it reads what is there')
  pair.source.track()
  await fio(kDevice, seedOf(t), '--direct=1', '--size=64m', '--io_size=4m', '--verify=crc32c')
  t.same(differing(readFileSync(pair.image), contentOf(kDevice)), [], 'it is all on the disk')
  t.ok(pair.source.dirtyBytes > 0)
  const dirty = pair.source.dirtyBytes
  execFileSync('blkdiscard', ['--offset', '0', '--length', String(kBytes / 2), kDevice])
  t.ok(pair.source.dirtyBytes > dirty, 'a discard is a change')
  t.ok(statSync(pair.image).blocks * 512 <= kBytes / 2, 'what is discarded takes no room')
})

t.test('an ext4 with a writer moves', async (t) => {
  const pair = await makePair(t, kBytes)
  attach(t, pair)
  const point = mountedExt4(t, pair.dir, kDevice)
  const writer = spawn('fio', [
    '--name=files', '--thread', `--directory=${point}`, '--rw=randwrite', '--bs=4k', '--size=8m',
    '--fsync=16', '--time_based', '--runtime=600', `--randseed=${seedOf(t)}`, '--refill_buffers', '--minimal'
  ], { stdio: 'ignore' })
  const ended = once(writer, 'exit')
  t.teardown(async () => {
    thaw(point)
    writer.kill('SIGKILL')
    await ended
  })
  const report = await migrate({
    disks: [{ source: pair.source }],
    destination: `127.0.0.1:${pair.receiver.address.port}`,
    machine: { pause: () => freeze(point), resume: () => thaw(point) },
    budgets: { downtime: '5s' }
  })
  t.ok(report.dirty.bytes > 0, 'there were writes meanwhile')
  t.same(differing(readFileSync(pair.image), readFileSync(pair.target)), [], 'equal, block by block')
  t.equal(pair.source.state, 'refusing')
})
