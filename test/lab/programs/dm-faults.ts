// In the lab: what goes wrong around a dm tap. No write is missed, none waits for ever, and no two own
// the disk; the device is as it was before.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import t from 'tap'

import { leftoverTaps, migrate, openTap, removeLeftoverTap } from '../../../lib/index.js'
import { mountedExt4 } from '../../support/bpf.js'
import { noWatchdog, start, worksSoon } from '../../support/dm-child.js'
import { deviceOf, dmsetup, kernelNameOf, kSectors, mapped, nameOf, store, traces, works } from '../../support/dm.js'
import { temporary } from '../../../testbed/support/images.js'
import { keepStatistics } from '../../support/root.js'

const kSlowMs = 12_000 // more than the watchdog waits for a sign of life

const isSuspended = (device: string): boolean =>
  dmsetup('info', '-c', '--noheadings', '-o', 'suspended', nameOf(device)) === 'Suspended'

t.test('a discard that nobody counts', async (t) => {
  const device = deviceOf(t, 'linear')
  await using tap = await openTap({ source: device, tap: 'dm' })
  keepStatistics(`/dev/${kernelNameOf(device)}`, false)
  tap.track()
  await sleep(500)
  execFileSync('blkdiscard', ['-f', '-o', '12288', '-l', '32768', device])
  await tap.quiesce()
  const [first] = tap.round()
  t.ok(first !== undefined && first.offset === 0 && first.length >= 2 * 32768, 'both blocks that it reaches into')
  tap.release()
})

t.test('the settings of the device', async (t) => {
  const device = deviceOf(t, 'linear')
  const own = { read_ahead_kb: '2048', max_sectors_kb: '64', discard_max_bytes: '65536' }
  const file = (name: string) => `/sys/block/${kernelNameOf(device)}/queue/${name}`
  for (const [name, value] of Object.entries(own)) writeFileSync(file(name), value)
  const settings = () =>
    Object.fromEntries(Object.keys(own).map((name) => [name, readFileSync(file(name), 'utf8').trim()]))
  t.same(settings(), own)
  const tap = await openTap({ source: device, tap: 'dm' })
  t.match(settings(), { read_ahead_kb: '2048' }, 'while there is a tap')
  await tap.close()
  t.same(settings(), own, 'as before')
  const child = start(t, device, ['checkpoint', 'wait'])
  await child.said('checkpoint')
  child.signal('SIGKILL')
  await child.ended
  await removeLeftoverTap(device)
  t.same(settings(), own, 'also after a kill')
})

t.test('a watchdog that is asked to end', async (t) => {
  const device = deviceOf(t, 'linear')
  const child = start(t, device, ['hold', 'wait'])
  await child.said('hold')
  for (const signal of ['-TERM', '-INT', '-HUP']) spawnSync('pkill', [signal, 'blockferry-watc'])
  await sleep(200)
  child.signal('SIGKILL')
  await child.ended
  t.ok(await noWatchdog(), 'it ends with its process')
  t.notOk(isSuspended(device))
  await removeLeftoverTap(device)
})

t.test('killed while it may be lost, and so is the watchdog', async (t) => {
  const device = deviceOf(t, 'linear')
  const before = traces(device)
  const child = start(t, device, ['hold', 'may-lose', 'wait'])
  await child.said('may-lose')
  spawnSync('pkill', ['-KILL', 'blockferry-watc'])
  child.signal('SIGKILL')
  await child.ended
  t.match(await leftoverTaps(), [{ state: 'fenced', suspended: true, live: false }])
  await t.rejects(removeLeftoverTap(device), { code: 'REFUSED' })
  await t.rejects(openTap({ source: device, tap: 'dm' }).then((tap) => tap.close()), { code: 'REFUSED' })
  t.ok(isSuspended(device), 'nobody writes')
  t.equal(await removeLeftoverTap(device, { owned: true }), true)
  t.ok(works(device))
  t.equal(traces(device), before)
})

t.test('taken back after it might have been lost', async (t) => {
  const device = deviceOf(t, 'linear')
  const before = traces(device)
  const child = start(t, device, ['hold', 'may-lose', 'release', 'wait', 'hold', 'wait'])
  await child.said('release')
  t.ok(works(device))
  child.go()
  await child.said('hold')
  child.signal('SIGKILL')
  await child.ended
  t.ok(await worksSoon(device), 'it is not fenced')
  await removeLeftoverTap(device)
  t.equal(traces(device), before)
})

t.test('let go on before they are held', async (t) => {
  const device = deviceOf(t, 'linear')
  const child = start(t, device, ['let-go', 'wait', 'close'])
  await child.said('let-go')
  t.notOk(isSuspended(device), 'nobody would let them go on')
  child.go()
  await child.ended
  t.ok(works(device))
})

t.test('a journal on the disk that moves', async (t) => {
  const device = deviceOf(t, 'linear')
  const journal = join(mountedExt4(t, temporary(t), device), 'source.journal')
  const migration = migrate({ disks: [{ source: device, tap: 'dm' }], destination: '127.0.0.1:9', journal })
  await t.rejects(migration, { code: 'INVALID', message: /journal/ })
  t.same(await leftoverTaps(), [])
})

t.test('killed before the disk could be lost', async (t) => {
  const device = deviceOf(t, 'linear')
  const child = start(t, device, ['may-lose', 'wait'])
  await child.said('may-lose')
  child.signal('SIGKILL')
  await child.ended
  t.ok(await noWatchdog())
  t.ok(works(device), 'its writers were not even held')
  await removeLeftoverTap(device)
})

t.test('the switchover takes hold after the journal says so', async (t) => {
  const device = deviceOf(t, 'linear')
  const child = start(t, device, ['may-lose', 'hold', 'wait'])
  await child.said('hold')
  child.signal('SIGKILL')
  await child.ended
  t.ok(await noWatchdog())
  t.match(await leftoverTaps(), [{ state: 'fenced', live: false }])
  t.notOk(works(device))
  t.equal(await removeLeftoverTap(device, { owned: true }), true)
})

t.test('writes that take longer than the watchdog waits, then a kill', async (t) => {
  const below = store(t, 40)
  const device = mapped(t, 'slow', `0 ${kSectors} delay ${below} 0 0 ${below} 0 ${kSlowMs} ${below} 0 0`)
  const child = start(t, device, ['release', 'wait', 'hold', 'wait'])
  await child.said('release')
  spawn('dd', ['if=/dev/zero', `of=${device}`, 'bs=4k', 'count=1', 'oflag=direct'], { stdio: 'ignore' })
  await sleep(500)
  const began = performance.now()
  child.go()
  await child.said('hold')
  t.ok(performance.now() - began > 10_000, 'it has waited')
  t.ok(isSuspended(device))
  child.signal('SIGKILL')
  await child.ended
  t.ok(await noWatchdog())
  t.notOk(isSuspended(device), 'it goes on')
  await removeLeftoverTap(device)
})

// Last: a kernel that waits for itself does so for ever.
t.test('metadata on the device itself', async (t) => {
  const device = deviceOf(t, 'linear')
  const point = mountedExt4(t, temporary(t), device)
  for (const metadata of [point, device]) {
    await t.rejects(openTap({ source: device, tap: 'dm', metadata }), { code: 'INVALID', message: /metadata/ })
  }
  const above = mapped(t, 'above', `0 ${20 * 2048} linear ${store(t, 40)} 0`)
  await using tap = await openTap({ source: above, tap: 'dm', metadata: point })
  t.equal(tap.kind, 'dm', 'that of another is fine')
})
