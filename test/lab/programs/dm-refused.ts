// In the lab: what a dm tap can't be put under, and what others do to a device while it is tapped.
// A typed error each time, and the device works on.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import t, { type Test } from 'tap'

import type { BlockferryError, MigrationEvent } from '../../../lib/index.js'
import { leftoverTaps, migrate, openTap, probe, receive, recover, removeLeftoverTap } from '../../../lib/index.js'
import { tokenOf } from '../../../lib/ownership/token.js'
import { contentOf, differing, seedOf } from '../../support/bpf.js'
import { deviceOf, dmsetup, kSectors, mapped, nameOf, store, traces, works } from '../../support/dm.js'
import { noise, temporary } from '../../../testbed/support/images.js'

const kLoader = '/proc/sys/kernel/modprobe'
const kLibrary = new URL('../../../lib/index.js', import.meta.url).href

const errorOf = async (opening: Promise<AsyncDisposable>): Promise<BlockferryError> =>
  await opening.then(async (opened) => {
    await opened[Symbol.asyncDispose]()
    throw new Error('it was opened')
  }, (error: BlockferryError) => error)

/** It can't be opened, and nothing has changed. */
async function refused (
  t: Test, device: string, code: string, message: RegExp, metadata?: string
): Promise<void> {
  const before = traces(device)
  const error = await errorOf(openTap({ source: device, tap: 'dm', ...(metadata !== undefined && { metadata }) }))
  t.match(error, { code, message })
  t.equal(traces(device), before, 'nothing has changed')
}

// First: no target has been loaded yet.
t.test('a kernel without dm-era', async (t) => {
  const device = deviceOf(t, 'linear')
  const loader = readFileSync(kLoader, 'utf8')
  writeFileSync(kLoader, '/bin/false')
  try {
    const before = traces(device)
    t.match(await errorOf(openTap({ source: device, tap: 'dm' })), { code: 'UNSUPPORTED' })
    t.equal(traces(device), before, 'nothing has changed')
    t.ok(works(device))
  } finally {
    writeFileSync(kLoader, loader)
  }
})

t.test('devices of other kinds', async (t) => {
  const disk = store(t, 8)
  t.match(await errorOf(openTap({ source: disk, tap: 'dm' })), { code: 'UNSUPPORTED', message: /no device of device-mapper/ })
  t.match(await errorOf(openTap({ source: '/dev/nothing', tap: 'dm' })), { code: 'NOT_FOUND' })
  await refused(t, mapped(t, 'zeroes', `0 ${kSectors} zero`), 'UNSUPPORTED', /made by 'zero'/)
  const origin = mapped(t, 'origin', `0 8192 snapshot-origin ${disk}`)
  await refused(t, origin, 'UNSUPPORTED', /made by 'snapshot-origin'/)
  const era = mapped(t, 'someones', `0 8192 era ${store(t, 8)} ${store(t, 8)} 64`)
  await refused(t, era, 'UNSUPPORTED', /made by 'era'/)
})

t.test('a read-only device', async (t) => {
  const name = 'readonly'
  dmsetup('create', name, '--readonly', '--table', `0 8192 linear ${store(t, 8)} 0`)
  dmsetup('mknodes')
  t.teardown(() => { dmsetup('remove', name) })
  await refused(t, `/dev/mapper/${name}`, 'READ_ONLY', /read-only/)
})

t.test('a device that this host swaps to', async (t) => {
  const device = deviceOf(t, 'linear')
  execFileSync('mkswap', [device], { stdio: 'ignore' })
  execFileSync('swapon', [device])
  t.teardown(() => execFileSync('swapoff', [device]))
  t.match(await errorOf(openTap({ source: device, tap: 'dm' })), { code: 'UNSUPPORTED', message: /swaps/ })
})

t.test('without root', async (t) => {
  const device = deviceOf(t, 'linear')
  const program = `
    const { openTap, probe } = await import(${JSON.stringify(kLibrary)})
    process.setgroups([])
    process.setuid(65534)
    const { taps } = await probe(${JSON.stringify(device)})
    console.log(taps.find(({ tap }) => tap === 'dm').code)
    await openTap({ source: ${JSON.stringify(device)}, tap: 'dm' }).then(
      () => console.log('opened'), ({ code }) => console.log(code))`
  const output = execFileSync(process.execPath, ['--input-type=module', '--eval', program], { encoding: 'utf8' })
  t.equal(output, 'NO_PERMISSION\nNO_PERMISSION\n')
})

t.test('two taps, and what probe says', async (t) => {
  const device = deviceOf(t, 'linear')
  const dm = async () => (await probe(device)).taps.find(({ tap }) => tap === 'dm')
  t.match(await dm(), { possible: true, live: true, code: null })
  await using tap = await openTap({ source: device, tap: 'dm' })
  t.match(await errorOf(openTap({ source: device, tap: 'dm' })), { code: 'BUSY' })
  t.match(await errorOf(openTap({ source: tap.readPath, tap: 'dm' })), { code: 'UNSUPPORTED', message: /a tap itself/ })
})

t.test('places for the metadata that will not do', async (t) => {
  const device = deviceOf(t, 'linear')
  const other = store(t, 40)
  execFileSync('dd', ['if=/dev/urandom', `of=${other}`, 'bs=4k', 'count=1', 'status=none'])
  await refused(t, device, 'REFUSED', /something else/, other)
  await refused(t, device, 'NO_SPACE', /too small/, store(t, 1))
  await refused(t, device, 'NOT_FOUND', /nowhere/, '/nowhere')
  const file = join(temporary(t), 'file')
  writeFileSync(file, 'x')
  await refused(t, device, 'INVALID', /neither a folder nor/, file)
})

async function destination (t: Test, journal?: string) {
  const target = join(temporary(t), 'target.img')
  const receiver = await receive({
    disks: [{ destination: target, name: 'web' }], ...(journal !== undefined && { journal })
  })
  t.teardown(async () => {
    await receiver.close()
    for (const tap of receiver.taps.values()) await tap.close()
  })
  return { target, address: `127.0.0.1:${receiver.address.port}` }
}

/** Migrates until it is ready, does this to the device, wants the switchover, and answers the error. */
async function disturbed (
  t: Test, device: string, disturb: () => void, metadata?: string
): Promise<{ codes: string[], target: string }> {
  const { address, target } = await destination(t)
  await using source = await openTap({ source: device, name: 'web', tap: 'dm', ...(metadata !== undefined && { metadata }) })
  const migration = migrate({ disks: [{ source }], destination: address, switchover: 'manual', budgets: { downtime: '10s' } })
  const codes: string[] = []
  let isDone = false
  const follow = async (event: MigrationEvent) => {
    if (event.event === 'reconnecting') codes.push(event.error.code)
    if (event.event !== 'ready' || isDone) return
    isDone = true
    disturb()
    await sleep(1500)
    migration.switchover()
  }
  for await (const event of migration) await follow(event)
  await migration.then(() => codes.push('done'), (error: unknown) => {
    const { code, owner } = error as BlockferryError
    codes.push(code, String(owner))
  })
  return { codes, target }
}

t.test('another tool resizes the device while it is tapped', async (t) => {
  const below = store(t, 80)
  const device = mapped(t, 'grown', `0 ${kSectors} linear ${below} 0`)
  const table = `0 ${2 * kSectors} linear ${dmsetup('table', 'grown').split(' ')[3]} 0`
  const { codes } = await disturbed(t, device, () => {
    dmsetup('load', 'grown', '--table', table)
    dmsetup('resume', 'grown')
  })
  t.same(codes, ['TABLE_CHANGED', 'source'])
  t.equal(dmsetup('table', 'grown'), table, 'that stays')
  t.same(await leftoverTaps(), [])
  t.ok(works(device))
})

t.test('another tool removes the device by force', async (t) => {
  const device = deviceOf(t, 'linear')
  const holder = execFileSync('sh', ['-c', `sleep 30 < ${device} > /dev/null 2>&1 & echo $!`], { encoding: 'utf8' }).trim()
  const { codes } = await disturbed(t, device, () => {
    spawnSync('dmsetup', ['--noudevsync', 'remove', '--force', nameOf(device)])
  })
  t.same(codes, ['TABLE_CHANGED', 'source'])
  process.kill(Number(holder))
  t.same(await leftoverTaps(), [])
})

t.test('the metadata fails: both sides are compared, by new metadata', async (t) => {
  const device = deviceOf(t, 'linear')
  const seed = seedOf(t)
  writeFileSync(device, noise(seed, 2 ** 20))
  const metadata = mapped(t, 'metadata', `0 ${20 * 2048} linear ${store(t, 20)} 0`)
  const table = dmsetup('table', 'metadata')
  const { codes, target } = await disturbed(t, device, () => {
    dmsetup('load', 'metadata', '--table', `0 ${20 * 2048} error`)
    dmsetup('resume', 'metadata')
    for (let tries = 0; tries < 100 && !/linear/.test(dmsetup('table', nameOf(device))); tries++) {
      spawnSync('sleep', ['0.1'])
    }
    t.match(dmsetup('table', nameOf(device)), / linear /, 'the device has its left at .* is gone')
    t.ok(works(device))
    dmsetup('load', 'metadata', '--table', table)
    dmsetup('resume', 'metadata')
  }, metadata)
  t.same(codes, ['UNACCOUNTED', 'done'])
  t.ok(await removeLeftoverTap(device, { owned: true }))
  t.same(differing(contentOf(device), readFileSync(target)), [], 'equal, block by block')
})

/** A source that is killed when the destination is to decide: it is fenced, and nobody knows. */
async function killedAtCommit (t: Test) {
  const device = deviceOf(t, 'linear')
  const before = traces(device)
  const folder = temporary(t)
  const journal = join(folder, 'source.journal')
  const { address } = await destination(t, join(folder, 'destination.journal'))
  const program = `
    const { migrate } = await import(${JSON.stringify(kLibrary)})
    const migration = migrate({
      disks: [{ source: ${JSON.stringify(device)}, name: 'web', tap: 'dm' }], destination: ${JSON.stringify(address)},
      journal: ${JSON.stringify(journal)}, budgets: { downtime: '10s' }
    })
    migration.on('switchover', ({ step }) => { if (step === 'commit') process.kill(process.pid, 'SIGKILL') })
    await migration`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: 'ignore' })
  const [, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    child.once('exit', (...how) => resolve(how))
  })
  t.equal(signal, 'SIGKILL')
  for (let tries = 0; tries < 100 && spawnSync('pgrep', ['blockferry-watc']).status === 0; tries++) await sleep(100)
  t.match(dmsetup('table', nameOf(device)), / error/)
  t.notOk(works(device))
  const cli = new URL('../../../lib/cli.js', import.meta.url).pathname
  interface Ended { code: number | null, output: string }
  const recovered = async (...args: string[]): Promise<Ended> => await new Promise((resolve) => {
    const asked = spawn(process.execPath, [cli, 'recover', '--journal', journal, '--device', `web=${device}`, ...args])
    let output = ''
    asked.stdout.on('data', (data) => { output += data })
    asked.once('close', (code) => resolve({ code, output }))
  })
  return { device, before, journal, recovered }
}

t.test('killed when the destination is to decide: fenced until the journal has it back', async (t) => {
  const { device, before, journal, recovered } = await killedAtCommit(t)
  t.match(await errorOf(openTap({ source: device, tap: 'dm' })), { code: 'REFUSED' })
  t.match(await recovered('--no-ask'), { code: 4 }, 'nobody knows')
  t.notOk(works(device))
  t.match(await recovered(), { code: 0, output: /left at .* is gone/ }, 'the destination has not committed')
  t.ok(works(device))
  t.equal(traces(device), before, 'nothing is left')
  t.match(await recover(journal), [{ here: 'here' }])
})

t.test('killed when the destination is to decide: nothing moves there before that is known', async (t) => {
  const { device, before, journal, recovered } = await killedAtCommit(t)
  const receiver = await receive({ disks: [{ destination: device, name: 'web' }] })
  t.teardown(() => receiver.close())
  await using source = await openTap({ source: { memory: '32MiB' }, name: 'web' })
  const back = () => migrate({ disks: [{ source }], destination: `127.0.0.1:${receiver.address.port}` })
  await t.rejects(back(), { code: 'REFUSED', message: /recover --device/ })
  t.notOk(works(device), 'it is fenced still')
  const [unknown] = await recover(journal, { patienceMs: 0 })
  const token = tokenOf({ migration: unknown!.migration, committed: true })
  t.match(await recovered('--token', token), { code: 3, output: /a migration back may come/ })
  t.notOk(works(device), 'still')
  await back()
  for (const tap of receiver.taps.values()) await tap.close()
  t.ok(works(device))
  t.equal(traces(device), before, 'nothing is left')
})
