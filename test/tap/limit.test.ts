// Writers of a device that is only watched are slowed by cgroups, and no longer than they have to be.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Test } from 'tap'
import t from 'tap'

import type { BlockferryError } from '../../lib/index.js'
import { migrate, openTap, probe, receive, removeLeftoverTap } from '../../lib/index.js'
import type { ProcessIdentity } from '../../lib/base/process-identity.js'
import { ownIdentity } from '../../lib/base/process-identity.js'
import { checkMigrateOptions } from '../../lib/source/options.js'
import { planOf } from '../../lib/source/plan.js'
import { contentOf, differing, emptyDevice, kNeedsBpf, outrunner } from '../support/bpf.js'
import { kNeedsCgroups, limitedGroup } from '../support/cgroups.js'
import { destination } from '../support/destination.js'
import { temporary } from '../../testbed/support/images.js'

const kMiB = 16
const kLibrary = new URL('../../lib/index.js', import.meta.url).href

/** A device, the group of those who write to it, and a tap's options for it. */
function setting (t: Test) {
  const dir = temporary(t)
  const device = emptyDevice(t, dir, kMiB)
  const disk = readFileSync(`/sys/block/${device.slice('/dev/'.length)}/dev`, 'utf8').trim()
  const group = limitedGroup(t)
  return { dir, device, disk, group, options: { source: device, tap: 'bpf' as const, cgroup: group.folder } }
}

/** Writes so many MiB past the page cache, and ends. */
function writer (t: Test, enter: string, device: string, mebibytes: number) {
  const command = `${enter}; exec dd if=/dev/zero of=${device} bs=64k count=${16 * mebibytes} oflag=direct,sync status=none`
  const child = spawn('sh', ['-c', command], { stdio: 'ignore' })
  let isDone = false
  const ended = once(child, 'exit').then(([code]) => { isDone = true; return code as number | null })
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return { ended, isDone: () => isDone }
}

const skip = kNeedsBpf || kNeedsCgroups
t.test('a limit holds a writer, and lifting it lets it go', { skip }, async (t) => {
  const { device, disk, group, options } = setting(t)
  await using tap = await openTap(options)
  t.equal(tap.throttleObstacle, null)
  tap.throttle({ bytesPerSecond: 4096 })
  t.equal(group.limit(disk), 4096)
  const writing = writer(t, group.enter, device, 8)
  await sleep(1000)
  tap.stats()
  await sleep(1000)
  t.notOk(writing.isDone(), 'it would take half an hour')
  t.ok(tap.stats().writtenBytes < 2 ** 20)
  tap.throttle({})
  t.equal(group.limit(disk), null)
  t.equal(await writing.ended, 0)
  t.equal(tap.stats().writtenBytes, 8 * 2 ** 20)
})

t.test('a limit of somebody else stays, and counts', { skip }, async (t) => {
  const { disk, group, options } = setting(t)
  group.setLimit(disk, 10_000_000)
  t.teardown(() => group.setLimit(disk, null))
  const tap = await openTap(options)
  tap.throttle({ bytesPerSecond: 20_000_000 })
  t.equal(group.limit(disk), 10_000_000)
  tap.throttle({ bytesPerSecond: 5_000_000 })
  t.equal(group.limit(disk), 5_000_000)
  await tap.close()
  t.equal(group.limit(disk), 10_000_000)
})

t.test('a large limit of somebody else comes back as it was', { skip }, async (t) => {
  const { disk, group, options } = setting(t)
  group.setLimit(disk, 10_000_000_000)
  t.teardown(() => group.setLimit(disk, null))
  await using tap = await openTap(options)
  tap.throttle({ bytesPerSecond: 20_000_000 })
  tap.throttle({})
  t.equal(group.limit(disk), 10_000_000_000)
})

t.test('a limit that somebody else sets meanwhile counts, and stays', { skip }, async (t) => {
  const { disk, group, options } = setting(t)
  t.teardown(() => group.setLimit(disk, null))
  await using tap = await openTap(options)
  tap.throttle({ bytesPerSecond: 20_000_000 })
  group.setLimit(disk, 2_000_000)
  tap.throttle({ bytesPerSecond: 5_000_000 })
  t.equal(group.limit(disk), 2_000_000)
  group.setLimit(disk, 3_000_000)
  tap.throttle({})
  t.equal(group.limit(disk), 3_000_000)
})

t.test('a limit that is changed all the time holds', { skip }, async (t) => {
  const { device, disk, group, options } = setting(t)
  await using tap = await openTap(options)
  tap.throttle({ bytesPerSecond: 1_000_000 })
  writer(t, group.enter, device, 15)
  await sleep(500)
  const [at, before] = [performance.now(), tap.stats().writtenBytes]
  for (let turn = 0; turn < 80; turn++) {
    tap.throttle({ bytesPerSecond: 1_000_000 + turn % 2 })
    await sleep(50)
  }
  const rate = (tap.stats().writtenBytes - before) * 1000 / (performance.now() - at)
  t.ok(rate < 1_500_000, `${Math.round(rate)} bytes/s`)
  tap.throttle({ bytesPerSecond: 1_100_000 })
  await until(() => group.limit(disk) === 1_100_000)
})

t.test('a limit that is lowered while it holds many writes holds them still', { skip }, async (t) => {
  const { device, disk, group, options } = setting(t)
  await using tap = await openTap(options)
  const { pause } = outrunner(t, device, group.enter)
  tap.throttle({ bytesPerSecond: 4_000_000 })
  await sleep(1000)
  const [at, before] = [performance.now(), tap.stats().writtenBytes]
  for (let turn = 0; turn < 80; turn++) {
    tap.throttle({ bytesPerSecond: turn % 2 === 0 ? 1_000_000 : 4_000_000 })
    await sleep(50)
  }
  const rate = (tap.stats().writtenBytes - before) * 1000 / (performance.now() - at)
  t.ok(rate < 6_000_000, `${Math.round(rate)} bytes/s`)
  tap.throttle({ bytesPerSecond: 1_000_000 })
  await until(() => group.limit(disk) === 1_000_000)
  await pause()
})

t.test('a closed tap limits nobody', { skip }, async (t) => {
  const { disk, group, options } = setting(t)
  const tap = await openTap(options)
  await tap.close()
  t.throws(() => tap.throttle({ bytesPerSecond: 4096 }), { code: 'CLOSED' })
  t.doesNotThrow(() => tap.throttle({}))
  t.equal(group.limit(disk), null)
})

async function until (holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(10)
}

/** Else there is little to move. */
function isHalfWritten (dir: string): boolean {
  return statSync(`${dir}/device.img`).blocks * 512 > kMiB * 2 ** 19
}

/** A process with a tap whose limit is on. */
async function limiter (t: Test, options: object) {
  const program = `
    const { openTap } = await import(${JSON.stringify(kLibrary)})
    const tap = await openTap(${JSON.stringify(options)})
    tap.throttle({ bytesPerSecond: 4096 })
    console.log('limited')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  await once(child.stdout, 'data')
  const kill = async () => {
    child.kill('SIGKILL')
    await ended
  }
  return { pid: child.pid!, kill }
}

t.test('a killed process leaves no limit', { skip }, async (t) => {
  const { disk, group, options } = setting(t)
  group.setLimit(disk, 10_000_000)
  t.teardown(() => group.setLimit(disk, null))
  const { kill } = await limiter(t, options)
  t.equal(group.limit(disk), 4096)
  await kill()
  await until(() => group.limit(disk) === 10_000_000)
  await until(() => !existsSync(`/run/blockferry/limits/${disk}.json`))
})

/** What a tap that limits the disk has put down. */
function recordOf (disk: string, process: ProcessIdentity, lines: object[]): string {
  const record = `/run/blockferry/limits/${disk}.json`
  mkdirSync('/run/blockferry/limits', { recursive: true, mode: 0o700 })
  writeFileSync(record, JSON.stringify({ process, lines }))
  return record
}

/** Leaves its limit. */
async function killWithRestorer (t: Test, options: object): Promise<void> {
  const { pid, kill } = await limiter(t, options)
  const restorer = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim())
  process.kill(restorer, 'SIGKILL')
  await kill()
}

t.test('killed with what would restore it: the next limit, or removeLeftoverTap(), does', { skip }, async (t) => {
  const { disk, group, options } = setting(t)
  await killWithRestorer(t, options)
  t.equal(await removeLeftoverTap(options.source), true)
  t.equal(group.limit(disk), null)
  await using tap = await openTap(options)
  // Of another tap, on a partition, which was killed later.
  const record = recordOf(disk, { pid: 1, started: 'never' }, [{ file: group.file, line: group.line(disk, null) }])
  group.setLimit(disk, 4096)
  tap.throttle({ bytesPerSecond: 10_000 })
  t.equal(group.limit(disk), 10_000)
  tap.throttle({})
  t.equal(group.limit(disk), null)
  t.notOk(existsSync(record))
})

t.test('killed with what would restore it: the next tap does', { skip }, async (t) => {
  const { disk, group, options } = setting(t)
  await killWithRestorer(t, options)
  t.equal(group.limit(disk), 4096)
  await probe(options.source)
  t.equal(group.limit(disk), 4096, 'probe() changes nothing')
  await using tap = await openTap(options)
  t.equal(tap.throttleObstacle, null)
  t.equal(group.limit(disk), null)
})

t.test('a record that is none of ours: the tap opens, and limits nobody over it', { skip }, async (t) => {
  const { options, disk } = setting(t)
  const record = recordOf(disk, { pid: 1, started: 'never' }, [])
  t.teardown(() => rmSync(record, { force: true }))
  writeFileSync(record, JSON.stringify({ owner: 'of another version', lines: [] }))
  await using tap = await openTap(options)
  t.throws(() => tap.throttle({ bytesPerSecond: 10_000 }), { code: 'BUSY' })
  t.ok(existsSync(record))
})

t.test('what it refuses', { skip }, async (t) => {
  const { dir, options } = setting(t)
  await using tap = await openTap(options)
  t.throws(() => tap.throttle({ steps: [{ afterWrites: 1, delayUs: 1 }] }), { code: 'INVALID' })
  await tap.close()
  await using other = await openTap({ ...options, cgroup: dir })
  t.match(other.throttleObstacle, /no cgroup with the io controller/)
  t.throws(() => other.throttle({ bytesPerSecond: 1 }), { code: 'UNSUPPORTED' })
  t.doesNotThrow(() => other.throttle({}))
})

t.test('a writer that outruns the link is slowed until it fits', { skip }, async (t) => {
  const { dir, device, group, options } = setting(t)
  const { target, address } = await destination(t)
  const { pause } = outrunner(t, device, group.enter)
  await until(() => isHalfWritten(dir))
  const migration = migrate({
    disks: [{ ...options, name: 'web' }],
    destination: address,
    machine: { pause },
    budgets: { bandwidth: '4MB/s', downtime: '500ms' },
    throttle: 'bucket'
  })
  let throttled = 0
  migration.on('throttle', ({ bytesPerSecond }) => { if (bytesPerSecond !== null) throttled++ })
  await migration
  t.ok(throttled > 0, 'it was slowed')
  t.same(differing(contentOf(device), readFileSync(target)), [], 'equal, block by block')
})

t.test('a limit that can not be set when it is needed does not end the migration', { skip }, async (t) => {
  const { dir, device, disk, group, options } = setting(t)
  const record = recordOf(disk, ownIdentity(), [])
  t.teardown(() => rmSync(record))
  const target = `${dir}/target.img`
  await using receiver = await receive({ disks: [{ destination: target, name: 'web' }] })
  const { pause } = outrunner(t, device, group.enter)
  await until(() => isHalfWritten(dir))
  const migration = migrate({
    disks: [{ ...options, name: 'web' }],
    destination: receiver.address,
    machine: { pause },
    budgets: { bandwidth: '1MB/s', downtime: '200ms', deadline: '6s' }
  })
  const error = await migration.then(() => null, (error: unknown) => error as BlockferryError)
  t.match(error, { code: 'DEADLINE' }, 'it does not fail before')
  t.equal(group.limit(disk), null)
})

t.test('a cgroup is for a path with a tap in the kernel', async (t) => {
  const migration = migrate({ disks: [{ source: '/dev/null', cgroup: '/x' }], destination: '127.0.0.1:1' })
  t.match(await migration.then(() => '', (error: unknown) => (error as BlockferryError).message), /cgroup: must be left out/)
  const { disks } = planOf(checkMigrateOptions({
    disks: [{ source: '/dev/null', tap: 'bpf', cgroup: '/x' }],
    destination: '127.0.0.1:1',
    machine: { pause: () => {} }
  }))
  t.match(disks, [{ tap: 'bpf', cgroup: '/x' }], 'resume() knows of it')
})

t.test('steps are for nbd taps', { skip }, async (t) => {
  const { options } = setting(t)
  const migration = migrate({
    disks: [{ source: options.source, tap: 'bpf' }],
    destination: '127.0.0.1:1',
    machine: { pause: () => {} },
    throttle: 'steps'
  })
  t.equal(await migration.then(() => '', (error: unknown) => (error as BlockferryError).code), 'INVALID')
})
