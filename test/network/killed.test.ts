// The process is killed: what it left is found, and removed or looked after by another.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'

import type { RedirectState } from '../../lib/index.js'
import { Client, type Echoed } from '../../testbed/clients/clients.js'
import { Command } from '../../testbed/guests/moving-guest.js'
import { kNewSite, kOldSite, redirectAt } from './redirect-command.js'
import { kLook, missing, Setting } from '../../testbed/sites/setting.js'
import { kFresh, kMachine } from '../../testbed/sites/sites.js'

const skip = await missing()

for (const place of ['a', 'b'] as const) {
  t.test(`after each change at site ${place}`, { skip }, async (t) => {
    const setting = await Setting.make(t)
    const options = place === 'a' ? setting.oldOptions([4, 6]) : setting.newOptions([4, 6])
    const program = new URL('./programs/each-step.js', import.meta.url).pathname
    const text = await setting.sites[place].run(process.execPath, program, JSON.stringify(options), kLook)
    const steps = text.trim().split('\n').map((line) => JSON.parse(line))
    for (const { count, total, asBefore, last } of steps) {
      t.ok(asBefore, `${count} of ${total}: ${last.slice(0, 100)}`)
    }
    t.equal(steps.at(-1).count, steps.at(-1).total)
  })
}

async function listed (t: Test, setting: Setting, place: 'a' | 'b'): Promise<RedirectState[]> {
  const list = redirectAt(t, setting, place, '--list')
  const { redirects } = await list.event('redirects')
  t.equal(await list.ended, 0)
  return redirects
}

t.test('between prepare and switchover', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const before = { a: await setting.network('a'), b: await setting.network('b') }
  const newSite = redirectAt(t, setting, 'b', ...kNewSite)
  await newSite.event('ready')
  const oldSite = redirectAt(t, setting, 'a', ...kOldSite)
  await oldSite.event('ready')
  for (const site of [oldSite, newSite]) await site.kill()
  writeFileSync(join(setting.folder, 'disk'), Buffer.alloc(2 ** 16))
  t.equal(await setting.ask(kMachine[4]), 'here\n', 'the machine serves where it runs')
  const control = join(setting.folder, 'control')
  const serve = new Command(setting.sites.a.name, [
    'serve', '--disk', `web=${join(setting.folder, 'disk')}`, '--listen', `unix:${control}.nbd`,
    '--control', control
  ])
  t.teardown(() => serve.kill())
  await serve.event('serving')
  const status = new Command(setting.sites.a.name, [
    'status', '--control', control, '--state', setting.state('a')
  ])
  t.match(await status.event('status'), { redirects: [{ phase: 'prepared', role: 'old' }] })
  for (const place of ['a', 'b'] as const) {
    const [state] = await listed(t, setting, place)
    t.match(state, { phase: 'prepared', role: place === 'a' ? 'old' : 'new' })
    const again = redirectAt(t, setting, place, ...(place === 'a' ? kOldSite : kNewSite))
    t.match((await again.event('failed')).error, { code: 'NETWORK', message: /--remove/ })
    t.equal(await again.ended, 1)
    t.equal(await redirectAt(t, setting, place, '--remove', state!.id).ended, 0)
    t.same(await listed(t, setting, place), [])
    t.equal(await setting.network(place), before[place], `nothing is left at ${place}`)
  }
})

t.test('after the switchover: connections go on, another process goes on', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const echo = new Client<Echoed>(setting.sites.client.name, 'echo', [kMachine[4], '7', '20'], 20)
  t.teardown(() => echo.kill())
  const newSite = redirectAt(t, setting, 'b', ...kNewSite, '--now')
  await newSite.event('switched')
  const before = await setting.network('a')
  const oldSite = redirectAt(t, setting, 'a', ...kOldSite, '--now')
  await oldSite.event('verified')
  await setting.sites.plug('b')
  await oldSite.event('switched')
  for (const site of [oldSite, newSite]) await site.kill()
  t.equal(await setting.ask(kFresh[4]), 'here\n')
  const [[old], [fresh]] = [await listed(t, setting, 'a'), await listed(t, setting, 'b')]
  t.match([old, fresh], [{ phase: 'switched' }, { phase: 'switched' }])
  const watchers = [
    redirectAt(t, setting, 'b', '--watch', fresh!.id), redirectAt(t, setting, 'a', '--watch', old!.id)
  ] as const
  await watchers[1].event('connections', ({ count }) => count >= 1)
  t.match(await echo.stop(), { wrong: 0, broken: 0, failed: 0 })
  t.match(await watchers[1].event('ended'), { reason: 'unused' })
  t.match(await watchers[0].event('ended'), { reason: 'other-site' })
  t.same([await watchers[0].ended, await watchers[1].ended], [0, 0])
  t.equal(await setting.network('a'), before, 'nothing is left at the old site')
  t.match(await listed(t, setting, 'b'), [{ phase: 'settled' }])
  t.equal(await setting.ask(kFresh[4]), 'here\n')
})

t.test('a signal before the switchover takes it back', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const before = await setting.network('b')
  const site = redirectAt(t, setting, 'b', ...kNewSite)
  await site.event('ready')
  site.child.kill('SIGTERM')
  t.equal(await site.ended, 130)
  t.equal(await setting.network('b'), before)
})

t.test('--remove of what is not there', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'redirect-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const { main } = await import('../../lib/cli/main.js')
  t.equal(await main(['redirect', '--remove', 'abcdef', '--state', folder, '--json']), 1)
  t.equal(await main(['redirect', '--role', 'old', '--json']), 2)
})
