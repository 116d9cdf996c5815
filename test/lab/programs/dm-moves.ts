// In the lab: disks of device-mapper move under a live file system, and are marked exactly.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, copyFileSync, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import t, { type Test } from 'tap'

import type { Tap } from '../../../lib/index.js'
import { leftoverTaps, migrate, openTap, receive, removeLeftoverTap } from '../../../lib/index.js'
import { contentOf, differing, fio, mountedExt4, seedOf } from '../../support/bpf.js'
import { deviceOf, kKinds, nameOf, dmsetup, store, traces, works } from '../../support/dm.js'
import { destination } from '../../support/destination.js'
import { temporary } from '../../../testbed/support/images.js'

function busyFiles (t: Test, point: string, seed: number): { end: () => Promise<void> } {
  const child = spawn('fio', [
    '--name=files', '--thread', `--directory=${point}`, '--rw=randwrite', '--bsrange=512-64k',
    '--blockalign=512', '--nrfiles=4', '--size=4m', '--fsync=16', '--time_based', '--runtime=300',
    `--randseed=${seed}`, '--refill_buffers', '--thinktime=2000', '--minimal'
  ], { stdio: 'ignore' })
  const ended = once(child, 'exit')
  const end = async () => {
    child.kill('SIGKILL')
    await ended
  }
  t.teardown(end)
  return { end }
}

for (const kind of kKinds) {
  t.test(`an ext4 with a writer moves: ${kind}`, async (t) => {
    const device = deviceOf(t, kind)
    const dir = temporary(t)
    const point = mountedExt4(t, dir, device)
    const before = traces(device)
    const writer = busyFiles(t, point, seedOf(t))
    await sleep(500)
    const { target, address } = await destination(t)
    const report = await migrate({
      disks: [{ source: device, name: 'web', tap: kind === 'linear' ? 'auto' : 'dm' }],
      destination: address,
      budgets: { downtime: '10s' }
    })
    t.ok(report.dirty.bytes > 0, 'there were writes meanwhile')
    t.comment(`downtime ${JSON.stringify(report.downtime)}`)
    t.notOk(works(device), 'writes at the source fail')
    t.match(dmsetup('table', nameOf(device)), /error/)
    t.same(differing(contentOf(`${device}-blockferry-moved`), readFileSync(target)), [], 'equal, block by block')
    await writer.end()
    await t.rejects(openTap({ source: device, tap: 'dm' }), { code: 'REFUSED' })
    await t.rejects(removeLeftoverTap(device), { code: 'REFUSED' })
    t.equal(await removeLeftoverTap(device, { owned: true }), true)
    t.equal(traces(device), before, 'nothing is left')
    const copy = join(dir, 'checked.img') // e2fsck replays the journal
    copyFileSync(target, copy)
    t.equal(spawnSync('e2fsck', ['-fy', copy], { stdio: 'ignore' }).status, 0, 'the copy is clean')
  })
}

t.test('a disk moves back to the device that it came from', async (t) => {
  const device = deviceOf(t, 'linear')
  const before = traces(device)
  const move = (source: string, address: string) => migrate({
    disks: [{ source, name: 'web', tap: source === device ? 'dm' : 'nbd' }], destination: address
  })
  const { target, address, close } = await destination(t)
  await move(device, address)
  await close()
  t.match(await leftoverTaps(), [{ state: 'fenced', moved: true }])
  const back = await receive({ disks: [{ destination: device, name: 'web' }] })
  t.teardown(() => back.close())
  const open = openSync(device, 'r')
  const backAddress = `127.0.0.1:${back.address.port}`
  await t.rejects(move(target, backAddress), { code: 'BUSY', message: /still has it open/ })
  t.notOk(works(device), 'its writers stay out')
  closeSync(open)
  execFileSync('dd', ['if=/dev/urandom', `of=${target}`, 'bs=1M', 'count=1', 'conv=notrunc', 'status=none'])
  await move(target, backAddress)
  for (const tap of back.taps.values()) await tap.close()
  t.same(differing(contentOf(device), readFileSync(target)), [], 'equal, block by block')
  t.ok(works(device))
  t.equal(traces(device), before, 'nothing is left')
})

/** Copies what is dirty, as a transport of one's own would. */
function copyRound (tap: Tap, from: number, copy: Buffer): void {
  for (const { offset, length } of tap.round()) readSync(from, copy, offset, length, offset)
}

// Where a cgroup is named there is no dm-delay.
const kStacks = { era: { cgroup: '/nowhere' }, 'era and delay': {} }

/** Reads past the page cache, which others' writes to the device above pass by. Writes are delayed by
 * each of `delays` in turn, ms. */
async function copiedUnderWriters (
  t: Test, device: string, write: () => Promise<void>, stack: keyof typeof kStacks = 'era and delay',
  delays: number[] = []
): Promise<void> {
  const before = traces(device)
  const tap = await openTap({ source: device, tap: 'dm', ...kStacks[stack] })
  const from = openSync(tap.readPath, 'r')
  const fresh = () => spawnSync('blockdev', ['--flushbufs', tap.readPath])
  const copy = Buffer.alloc(tap.size)
  tap.track()
  tap.mark()
  let isWriting = true
  const writing = write().finally(() => { isWriting = false })
  for (let turn = 0; isWriting; turn++) {
    if (delays.length > 0 && turn % 5 === 0) await tap.native.delayWrites(delays[turn / 5 % delays.length]!)
    fresh()
    copyRound(tap, from, copy)
    await sleep(50)
  }
  await writing
  await tap.quiesce()
  fresh()
  copyRound(tap, from, copy)
  fresh()
  t.same(differing(copy, readFileSync(tap.readPath)), [], 'every changed block was marked')
  t.equal(tap.state, 'holding')
  tap.release()
  t.ok(works(device))
  closeSync(from)
  await tap.close()
  t.equal(traces(device), before, 'nothing is left')
}

t.test('a copy that is made under random writes', async (t) => {
  const device = deviceOf(t, 'linear')
  const seed = seedOf(t)
  const depth = ['--direct=1', '--iodepth=64', '--bsrange=4k-64k', '--time_based', '--runtime=4']
  await t.test('direct, era', (t) => copiedUnderWriters(t, device, () => fio(device, seed, ...depth), 'era'))
  await t.test('direct', (t) => copiedUnderWriters(t, device, () => fio(device, seed + 1, ...depth)))
  await t.test('delayed', (t) => copiedUnderWriters(
    t, device, () => fio(device, seed + 2, ...depth), 'era and delay', [0, 20, 400, 5, 100]))
  await t.test('buffered', (t) => copiedUnderWriters(t, device, () =>
    fio(device, seed, '--direct=0', '--ioengine=psync', '--time_based', '--runtime=3', '--fsync=64')))
  const discard = async (): Promise<void> => {
    for (let round = 0; round < 20; round++) {
      const [offset, length] = [4096 * ((seed + round * 977) % 4000), 4096 * (1 + (seed + round * 31) % 900)]
      spawnSync('blkdiscard', ['-f', '-o', String(offset), '-l', String(length), device])
      await fio(device, seed + round, '--direct=1', '--size=256k')
    }
  }
  await t.test('with discards, era', (t) => copiedUnderWriters(t, device, discard, 'era'))
  await t.test('with discards, delayed', (t) => copiedUnderWriters(t, device, discard, 'era and delay', [0, 50, 10]))
})

t.test('discards of a thin device', async (t) => {
  const device = deviceOf(t, 'thin')
  execFileSync('dd', ['if=/dev/urandom', `of=${device}`, 'bs=1M', 'count=32', 'oflag=direct', 'status=none'])
  await copiedUnderWriters(t, device, async () => {
    spawnSync('blkdiscard', ['-f', '-o', String(2 ** 20), '-l', String(9 * 2 ** 20), device])
    await sleep(1000)
    spawnSync('blkdiscard', ['-f', '-o', String(12 * 2 ** 20), '-l', String(5 * 2 ** 20), device])
  })
})

t.test('metadata in a folder, and on a device', async (t) => {
  const device = deviceOf(t, 'linear')
  const folder = temporary(t)
  const places = [folder, store(t, 40)]
  const before = traces(device)
  for (const metadata of places) {
    await using tap = await openTap({ source: device, tap: 'dm', metadata })
    tap.track()
    const blocks = ['bs=32k', 'seek=9', 'count=2']
    execFileSync('dd', ['if=/dev/urandom', `of=${device}`, ...blocks, 'oflag=direct', 'status=none'])
    await tap.quiesce()
    t.same([...tap.round()], [{ offset: 9 * 32768, length: 2 * 32768 }])
    tap.release()
  }
  t.equal(execFileSync('ls', ['-A', folder], { encoding: 'utf8' }), '')
  t.equal(traces(device), before, 'nothing is left')
})

/** The longest write of a single writer until `body` is done, ms. */
async function longestWrite (device: string, body: () => Promise<void>): Promise<number> {
  const child = spawn('fio', [
    '--name=latency', '--thread', `--filename=${device}`, '--rw=randwrite', '--bs=4k', '--direct=1',
    '--ioengine=psync', '--time_based', '--runtime=60', '--thinktime=1000', '--output-format=json'
  ], { stdio: ['ignore', 'pipe', 'ignore'] })
  let output = ''
  child.stdout.on('data', (data) => { output += data })
  const ended = once(child, 'close')
  await sleep(1500)
  await body()
  child.kill('SIGINT')
  await ended
  return JSON.parse(output.slice(output.indexOf('{'))).jobs[0].write.lat_ns.max / 1e6
}

// Under emulation these are many times what they are otherwise.
const kLongestMs = 3000

t.test('what a writer waits for a tap', async (t) => {
  const device = deviceOf(t, 'linear')
  const none = await longestWrite(device, () => sleep(3000))
  const attached = await longestWrite(device, async () => {
    for (let run = 0; run < 3; run++) {
      const tap = await openTap({ source: device, tap: 'dm' })
      await tap.close()
    }
  })
  await using tap = await openTap({ source: device, tap: 'dm' })
  tap.track()
  const tracked = await longestWrite(device, () => sleep(3000))
  tap.untrack()
  const times: string[] = []
  for (let run = 0; run < 3; run++) {
    const began = performance.now()
    await tap.quiesce()
    times.push((performance.now() - began).toFixed(1))
    tap.release()
  }
  const [without, coming, checkpoints] = [none, attached, tracked].map((ms) => ms.toFixed(1))
  t.comment(`longest write: none ${without} ms, attached and detached ${coming} ms, checkpoints ${checkpoints} ms`)
  t.comment(`quiesce ${times.join(', ')} ms`)
  t.ok(attached < kLongestMs && tracked < kLongestMs)
})
