// A bpf tap with a map file, whose process is killed: it goes on in the kernel, is shown and taken away
// by the command line, and the next process goes on where it was.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'

import type { Test } from 'tap'
import t from 'tap'

import type { MigrateOptions, Report } from '../../lib/index.js'
import { leftoverTaps, migrate, openTap, receive, removeLeftoverTap } from '../../lib/index.js'
import { jsonLines, run } from '../cli/cli-process.js'
import {
  contentOf, differing, emptyDevice, fio, kNeedsBpf, kNeedsZram, seedOf, zramDevice
} from '../support/bpf.js'
import { makeImage, temporary } from '../../testbed/support/images.js'
import { replaceLoopFile } from '../support/root.js'

const kMiB = 32
const kSize = kMiB * 2 ** 20
const kLibrary = new URL('../../lib/index.js', import.meta.url).href

function setting (t: Test) {
  const dir = temporary(t)
  const device = emptyDevice(t, dir, kMiB)
  t.teardown(() => removeLeftoverTap(device))
  return { dir, device, map: join(dir, 'map'), seed: seedOf(t) }
}

const pinnedOn = async (device: string) =>
  (await leftoverTaps()).filter((tap) => tap.device === device)

/** A process that has copied all of the device, or this share of it, when it is killed. */
async function copyAndKill (device: string, map: string, target: string, share = 1): Promise<void> {
  const program = `
    const { migrate, openTap, receive } = await import(${JSON.stringify(kLibrary)})
    const receiver = await receive({ disks: [{ destination: ${JSON.stringify(target)} }] })
    const source = await openTap({
      source: ${JSON.stringify(device)}, tap: 'bpf', map: ${JSON.stringify(map)}
    })
    migrate({
      disks: [{ source }], destination: receiver.address, machine: { pause: () => {} },
      switchover: 'manual'
    })
    setInterval(() => {
      if (source.rememberedBytes >= ${share} * source.size) console.log('copied')
    }, 10)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program])
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'exit')
}

async function move (
  t: Test, device: string, map: string, target: string, more: Partial<MigrateOptions> = {}
): Promise<Report> {
  await using receiver = await receive({ disks: [{ destination: target }] })
  const report = await migrate({
    disks: [{ source: device, tap: 'bpf', map }], destination: receiver.address,
    machine: { pause: () => {} }, ...more
  })
  t.same(differing(contentOf(device), readFileSync(target)), [], 'equal, block by block')
  return report
}

/** Read from files and sockets, by this process. */
const bytesRead = () => Number(/rchar: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))![1])

t.test('what was sent before a kill, and not written since, is not read again', { skip: kNeedsBpf }, async (t) => {
  const { dir, device, map, seed } = setting(t)
  const target = join(dir, 'target.img')
  await fio(device, seed, '--direct=1', `--size=${kMiB}m`)
  await copyAndKill(device, map, target)
  t.match(await pinnedOn(device), [{ device, tap: 'bpf', live: false }])
  await fio(device, seed + 1, '--direct=1', '--size=1m') // while no process of ours is there
  {
    await using tap = await openTap({ source: device, tap: 'bpf', map })
    t.match(await pinnedOn(device), [{ device, live: true }])
    t.equal(tap.rememberedBytes, kSize - 2 ** 20)
    await using receiver = await receive({ disks: [{ destination: target }] })
    const before = bytesRead()
    const report = await migrate({
      disks: [{ source: tap }], destination: receiver.address, machine: { pause: () => {} }
    })
    // The destination, which is this process, too, reads all of it twice.
    t.ok(bytesRead() - before < 2.5 * kSize, `${bytesRead() - before} bytes read`)
    t.ok(report.bytes.same >= kSize - 2 ** 21, `${report.bytes.same} bytes were there`)
  }
  t.same(differing(contentOf(device), readFileSync(target)), [], 'equal, block by block')
  t.same(await pinnedOn(device), [], 'nothing is left when it is closed')
})

t.test('migrate() of a path with a map file, under a writer', { skip: kNeedsBpf }, async (t) => {
  const { dir, device, map, seed } = setting(t)
  const target = join(dir, 'target.img')
  const writing = fio(device, seed, '--direct=1', '--time_based', '--runtime=4', '--rate_iops=2000')
  await copyAndKill(device, map, target, 0.5)
  const report = await move(t, device, map, target, {
    machine: { pause: () => writing }, budgets: { downtime: '10s' }
  })
  t.equal(report.equal, true)
  t.same(await pinnedOn(device), [])
})

t.test('a device that takes bios', { skip: kNeedsZram }, async (t) => {
  const dir = temporary(t)
  const device = zramDevice(t, kMiB)
  t.teardown(() => removeLeftoverTap(device))
  const [map, target, seed] = [join(dir, 'map'), join(dir, 'target.img'), seedOf(t)]
  await fio(device, seed, '--direct=1', `--size=${kMiB}m`)
  await copyAndKill(device, map, target)
  await fio(device, seed + 1, '--direct=1', '--size=1m')
  {
    await using tap = await openTap({ source: device, tap: 'bpf', map })
    t.equal(tap.rememberedBytes, kSize - 2 ** 20)
    await tap.quiesce()
    t.equal(tap.rememberedBytes, kSize - 2 ** 20)
  }
  await move(t, device, map, target)
})

t.test('pins that were taken away: nothing is remembered', { skip: kNeedsBpf }, async (t) => {
  const { dir, device, map, seed } = setting(t)
  const target = join(dir, 'target.img')
  await copyAndKill(device, map, target)
  t.equal(await removeLeftoverTap(device), true)
  await fio(device, seed, '--direct=1', '--size=1m')
  await using tap = await openTap({ source: device, tap: 'bpf', map })
  t.equal(tap.rememberedBytes, 0)
  t.equal(await removeLeftoverTap('0:0-0'), false)
  await t.rejects(removeLeftoverTap(device), { code: 'BUSY' })
})

t.test('another disk under its number', { skip: kNeedsBpf }, async (t) => {
  const { dir, device, map } = setting(t)
  await copyAndKill(device, map, join(dir, 'target.img'))
  replaceLoopFile(device, makeImage(join(dir, 'other.img'), kSize))
  await using tap = await openTap({ source: device, tap: 'bpf', map })
  t.equal(tap.rememberedBytes, 0)
  t.match(await pinnedOn(device), [{ live: true }], 'what was there of the one before has gone')
  t.equal((await pinnedOn(device)).length, 1)
})

t.test('status shows what is left, and recover takes it away', { skip: kNeedsBpf }, async (t) => {
  const { dir, device, map } = setting(t)
  const alive = await openTap({ source: emptyDevice(t, temporary(t), 4), tap: 'bpf', map: `${map}.2` })
  await copyAndKill(device, map, join(dir, 'target.img'))
  const shown = await run(t, 'status', '--state', dir, '--json')
  const { taps } = jsonLines(shown.stdout)[0]
  t.match(taps.filter((tap: { device: string }) => tap.device === device), [{ tap: 'bpf', live: false }])
  t.match(taps.filter((tap: { device: string }) => tap.device === alive.source), [{ live: true }])
  const text = await run(t, 'status', '--state', dir)
  t.match(text.stdout, new RegExp(`tap of /dev/${basename(device)}, .*; of a dead process`))
  const removed = await run(t, 'recover', '--device', device)
  t.match(removed, { code: 0, stdout: new RegExp(`the tap that was left at ${device} is gone`) })
  t.same(await pinnedOn(device), [])
  t.match(await pinnedOn(alive.source), [{ live: true }])
  await alive.close()
})

t.test('a map file is one device\'s', { skip: kNeedsBpf }, async (t) => {
  const { device, map } = setting(t)
  await using tap = await openTap({ source: device, tap: 'bpf', map: { path: map, blockSize: '64KiB' } })
  t.equal(tap.mapBlockSize, 65536)
  t.throws(() => tap.track(), { code: 'INVALID' })
  const other = emptyDevice(t, temporary(t), 4)
  await t.rejects(openTap({ source: other, tap: 'bpf', map }), { code: 'BUSY' })
  t.same(await pinnedOn(other), [], 'and nothing is left of the attempt')
})
