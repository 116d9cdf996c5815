// A machine moves with its connections from the command line alone: `serve` at both sites, and one
// file for both, given to `receive` and `send`.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'

import { Client, type Echoed } from '../../testbed/clients/clients.js'
import { Command } from '../../testbed/guests/moving-guest.js'
import { jsonLines, run } from '../cli/cli-process.js'
import { makeImage } from '../../testbed/support/images.js'
import { NameServer } from '../../testbed/sites/name-server.js'
import { missing, Setting } from '../../testbed/sites/setting.js'
import { kFresh, kHostA, kHostB, kMachine, kName, kNames, kRouterA } from '../../testbed/sites/sites.js'

const skip = await missing()

/** As in the README. Each site has a folder of its own here, which hosts have anyway. */
function writeFile (setting: Setting, place: 'a' | 'b', change: object = {}): string {
  const path = join(setting.folder, `redirect-${place}.json`)
  writeFileSync(path, JSON.stringify({
    address: kMachine[4],
    old: { host: kHostA[4], device: 'lan', quiet: '3s', poll: '200ms' },
    new: { host: kHostB[4], device: 'lan', address: kFresh[4], gateway: kRouterA[4] },
    dns: { kind: 'rfc2136', name: kName, server: kNames, keyFile: 'named/key', ttl: '1s' },
    runtimeFolder: setting.state(place),
    ...change
  }))
  return path
}

async function serve (t: Test, setting: Setting, place: 'a' | 'b'): Promise<Command> {
  const at = (name: string) => join(setting.folder, `${place}.${name}`)
  makeImage(at('img'), 2 ** 20)
  const one = new Command(setting.sites[place].name, [
    'serve', '--disk', `disk=${at('img')}`, '--listen', `unix:${at('nbd')}`,
    '--control', at('control'), ...(place === 'b' ? ['--away'] : [])
  ])
  t.teardown(() => one.kill())
  await one.event('serving')
  return one
}

function command (t: Test, setting: Setting, place: 'a' | 'b', ...args: string[]): Command {
  const one = new Command(setting.sites[place].name, args)
  t.teardown(() => one.kill())
  return one
}

const step = (name: string) => ({ redirect }: any) => redirect.event === name

t.test('send, receive and serve', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const names = await NameServer.start(setting.sites, setting.folder)
  t.teardown(() => names.stop())
  const [a, b] = [await serve(t, setting, 'a'), await serve(t, setting, 'b')]
  const echo = new Client<Echoed>(setting.sites.client.name, 'echo', [kMachine[4], '7', '20'], 20)
  t.teardown(() => echo.kill())

  const receive = command(t, setting, 'b', 'receive', '--control', join(setting.folder, 'b.control'),
    '--listen', `${kHostB[4]}:0`, '--plain', '--redirect', writeFile(setting, 'b'))
  const { port } = await receive.event('listening')
  const send = command(t, setting, 'a', 'send', '--control', join(setting.folder, 'a.control'),
    '--to', `${kHostB[4]}:${port}`, '--plain', '--redirect', writeFile(setting, 'a'))
  await Promise.race([receive.event('committed'), send.event('done')])
  await setting.sites.plug('b')
  await send.event('done')
  t.same([await send.ended, await receive.ended], [0, 0])
  for (const [site, from] of [[a, send], [b, receive]] as const) {
    t.match(await from.event('redirect', step('prepared')), {}, 'who asked hears of it')
    t.match(await site.event('redirect', step('switched')), {}, 'so does the log')
  }
  t.equal(await setting.ask(kFresh[4]), 'here\n')
  t.equal(await names.records('A'), `1 ${kFresh[4]}`)
  await setting.sites.client.run('sleep', '1')
  t.match(await echo.stop(), { wrong: 0, broken: 0, failed: 0 })
  t.match(await a.event('redirect', step('ended')), { redirect: { reason: 'unused' } })
  t.match(await b.event('redirect', step('ended')), { redirect: { reason: 'other-site' } })
  t.equal(await names.records('A'), `20 ${kFresh[4]}`)
  b.child.kill('SIGTERM')
  t.equal(await b.ended, 0)
})

t.test('a serve that ends lets go of the tunnel', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const [a] = [await serve(t, setting, 'a'), await serve(t, setting, 'b')]
  const change = { dns: undefined, old: { host: kHostA[4], device: 'lan' } }
  const receive = command(t, setting, 'b', 'receive', '--control', join(setting.folder, 'b.control'),
    '--listen', `${kHostB[4]}:0`, '--plain', '--redirect', writeFile(setting, 'b', change))
  const { port } = await receive.event('listening')
  const send = command(t, setting, 'a', 'send', '--control', join(setting.folder, 'a.control'),
    '--to', `${kHostB[4]}:${port}`, '--plain', '--redirect', writeFile(setting, 'a', change))
  t.equal(await send.ended, 0)
  a.child.kill('SIGTERM')
  t.match(await a.event('redirect', step('left')), {})
  t.equal(await a.ended, 0)
  t.match(await setting.sites.a.ip('rule'), /7400/, 'it is there still')
})

t.test('nonsense in the file', { skip }, async (t) => {
  const setting = await Setting.make(t)
  const send = ['send', '--control', '/nowhere', '--to', '127.0.0.1:1', '--json', '--redirect']
  for (const [message, change] of [
    [/no such option/, { speed: 1 }],
    [/old: must be an object/, { old: undefined }],
    [/options\.colour/, { old: { host: kHostA[4], device: 'lan', colour: 1 } }],
    [/dns\.kind/, { dns: { kind: 'paper' } }],
    [/tunnel\.kind/, { tunnel: { kind: 'pigeon' } }]
  ] as const) {
    const { code, stdout } = await run(t, ...send, writeFile(setting, 'a', change))
    t.equal(code, 2)
    t.match(jsonLines(stdout).at(-1), { error: { code: 'INVALID', message } })
  }
  t.equal((await run(t, ...send, '/nowhere')).code, 2, 'no such file')
  const disks = ['send', '--disk', 'a=b', '--to', '127.0.0.1:1', '--redirect', writeFile(setting, 'a')]
  t.match((await run(t, ...disks)).stderr, /--redirect: belongs to --control/)
})
