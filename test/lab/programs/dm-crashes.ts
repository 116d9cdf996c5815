// In the lab: a process with a dm tap dies, at each of its steps. The device works on, or is fenced,
// and whoever comes next finds what was left and takes it out.
import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import t, { type Test } from 'tap'

import { leftoverTaps, openTap, removeLeftoverTap } from '../../../lib/index.js'
import { noWatchdog, start, worksSoon } from '../../support/dm-child.js'
import { deviceOf, dmsetup, nameOf, traces, works } from '../../support/dm.js'
import { kIsFull } from '../../support/full.js'
import { temporary } from '../../../testbed/support/images.js'

const kSource = new URL('../../../../test/lab/programs/dm-kill.c', import.meta.url).pathname
const kMostSteps = 200
const kStride = 4

function preload (t: Test): string {
  const library = join(temporary(t), 'dm-kill.so')
  execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, kSource, '-ldl'])
  return library
}

const kSteps = ['checkpoint', 'hold', 'release', 'close']
// Where a cgroup is named dm-delay is not needed.
const kWays: Record<string, { steps: string[], env: Record<string, string> }> = {
  'killed before each step': { steps: kSteps, env: { CGROUP: '/nowhere' } },
  'killed before each step, with dm-delay': { steps: ['delay', ...kSteps], env: {} }
}

/** Takes what is left over, and leaves nothing itself. */
async function takenOver (t: Test, device: string, before: string): Promise<void> {
  const tap = await openTap({ source: device, tap: 'dm' })
  await tap.close()
  t.equal(traces(device), before, 'nothing is left')
}

t.test('suspended and killed: it goes on', async (t) => {
  const device = deviceOf(t, 'linear')
  const before = traces(device)
  const child = start(t, device, ['checkpoint', 'hold', 'wait'])
  await child.said('hold')
  t.match(await leftoverTaps(), [{ device: nameOf(device), state: 'tapped', suspended: true, live: true }])
  await t.rejects(openTap({ source: device, tap: 'dm' }), { code: 'BUSY' })
  await t.rejects(openTap({ source: device, tap: 'bpf' }), { code: 'BUSY' })
  await t.rejects(removeLeftoverTap(device, { owned: true }), { code: 'BUSY' })
  child.signal('SIGKILL')
  await child.ended
  t.ok(await worksSoon(device), 'works')
  t.ok(await noWatchdog(), 'the watchdog has ended')
  t.match(await leftoverTaps(), [{ device: nameOf(device), state: 'tapped', suspended: false, live: false }])
  t.equal(await removeLeftoverTap(nameOf(device)), true)
  t.equal(traces(device), before)
  t.equal(await removeLeftoverTap(device), false)
})

t.test('killed while the disk may be lost: it is fenced', async (t) => {
  const device = deviceOf(t, 'linear')
  const before = traces(device)
  const child = start(t, device, ['hold', 'may-lose', 'wait'])
  await child.said('may-lose')
  child.signal('SIGKILL')
  await child.ended
  t.ok(await noWatchdog(), 'the watchdog has ended')
  t.match(dmsetup('table', nameOf(device)), / error/)
  t.notOk(works(device), 'writes fail')
  await t.rejects(openTap({ source: device, tap: 'dm' }), { code: 'REFUSED' })
  const cli = new URL('../../../lib/cli.js', import.meta.url).pathname
  const run = (...args: string[]) => spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8' })
  t.match(run('status'), { status: 0, stdout: /fenced/ })
  t.match(run('recover', '--device', device), { status: 1, stderr: /fenced/ })
  t.match(run('recover', '--device', device, '--force'), { status: 0, stdout: /left at .* is gone/ })
  t.ok(works(device))
  t.equal(traces(device), before)
})

t.test('closed while the disk may be lost: it is fenced, too', async (t) => {
  const device = deviceOf(t, 'linear')
  const child = start(t, device, ['hold', 'may-lose', 'close'])
  await child.ended
  t.notOk(works(device), 'writes fail')
  t.equal(await removeLeftoverTap(device, { owned: true }), true)
})

t.test('a process that stands still', async (t) => {
  const device = deviceOf(t, 'linear')
  const child = start(t, device, ['hold', 'wait', 'hold'])
  await child.said('hold')
  child.signal('SIGSTOP')
  t.ok(await worksSoon(device), 'the watchdog lets writes go on')
  child.signal('SIGCONT')
  child.go()
  await child.ended
  t.match(child.output(), 'UNACCOUNTED', 'and it notices')
  t.ok(works(device))
  const lost = start(t, device, ['hold', 'may-lose', 'wait', 'hold', 'release', 'close'])
  await lost.said('may-lose')
  lost.signal('SIGSTOP')
  await sleep(13_000)
  t.match(dmsetup('info', '-c', '--noheadings', '-o', 'suspended', nameOf(device)), /Suspended/, 'not if it may be lost')
  lost.signal('SIGCONT')
  lost.go()
  await lost.ended
  t.match(lost.output(), /held\n[^]*held/)
  t.ok(works(device))
})

t.test('a watchdog that is killed', async (t) => {
  const device = deviceOf(t, 'linear')
  const before = traces(device)
  const tap = await openTap({ source: device, tap: 'dm' })
  spawnSync('pkill', ['-KILL', 'blockferry-watc'])
  await tap.quiesce()
  t.equal(spawnSync('pgrep', ['blockferry-watc']).status, 0, 'there is another')
  tap.release()
  await tap.close()
  t.equal(traces(device), before)
})

for (const [name, { steps, env }] of Object.entries(kWays)) {
  t.test(name, async (t) => {
    const device = deviceOf(t, 'linear')
    const before = traces(device)
    const library = preload(t)
    let killed = 0
    const first = kIsFull ? 1 : 1 + Math.floor(Math.random() * kStride)
    t.comment(`from step ${first} on`)
    for (let at = first; at <= kMostSteps; at += kIsFull && at < 20 ? 1 : kStride) {
      const child = start(t, device, steps, { LD_PRELOAD: library, DM_KILL_AT: String(at), ...env })
      const [, signal] = await child.ended as [number | null, string | null]
      const isWell = await worksSoon(device)
      if (!isWell || !await noWatchdog()) t.fail(`${at}: does not work, or the watchdog is still there`)
      if (signal === null) break
      killed++
      const left = await leftoverTaps()
      if (left.some((one) => one.live || (one.tap === 'dm' && one.suspended))) t.fail(`${at}: ${JSON.stringify(left)}`)
      if (killed % 2 === 0) await removeLeftoverTap(device)
      else await takenOver(t, device, before)
    }
    t.ok(killed > (kIsFull ? 20 : 5), `${killed} times`)
    t.equal(traces(device), before, 'nothing is left')
  })
}
