// In the lab: a machine moves with each kind of tunnel that the host's own kernel may lack; and
// with what is chosen where the kernel has none.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'

import { Client, type Echoed } from '../../../testbed/clients/clients.js'
import { Setting } from '../../../testbed/sites/setting.js'
import type { TunnelOf } from '../../../testbed/sites/setting.js'
import { kFresh, kMachine } from '../../../testbed/sites/sites.js'

const kLoader = '/proc/sys/kernel/modprobe'

// The devices that the modules of gre and ipip make by themselves would look like something left.
writeFileSync('/proc/sys/net/core/fb_tunnels_only_for_init_net', '2')

function wireguard (): TunnelOf {
  const folder = mkdtempSync(join(tmpdir(), 'wireguard-'))
  const make = (site: string) => {
    const privateKey = join(folder, site)
    const key = execFileSync('wg', ['genkey'], { encoding: 'utf8' })
    writeFileSync(privateKey, key, { mode: 0o600 })
    const publicKey = execFileSync('wg', ['pubkey'], { input: key, encoding: 'utf8' }).trim()
    return { privateKey, publicKey }
  }
  const keys = { old: make('old'), new: make('new') }
  return (role) => ({
    wireguard: {
      privateKey: keys[role].privateKey,
      peerKey: keys[role === 'old' ? 'new' : 'old'].publicKey
    }
  })
}

/** The least that shows that a kind works: emulation is slow. Answers which kind it came to. */
async function move (t: Test, tunnelOf: TunnelOf): Promise<string> {
  const setting = await Setting.make(t, tunnelOf)
  const before = await setting.network('a')
  const pair = await setting.prepared()
  const words = [kMachine[4], '7', '100']
  const echo = new Client<Echoed>(setting.sites.client.name, 'echo', words, 100)
  t.teardown(() => echo.kill())
  await sleep(2000)
  await setting.move(pair)
  t.equal(await setting.ask(kFresh[4]), 'here\n', 'a new client')
  t.equal(await setting.upload(kMachine[4], 1e5), 1e5, 'large packets through the tunnel')
  t.match(await echo.stop(), { wrong: 0, broken: 0, failed: 0 }, 'a connection of before')
  t.match(await pair.oldSite.event('ended'), { reason: 'unused' })
  t.match(await pair.newSite.event('ended'), { reason: 'other-site' })
  t.equal(await setting.network('a'), before, 'nothing is left at the old site')
  return (await pair.oldSite.event('prepared')).tunnel.kind
}

// First: it loads what the setting needs, and none of vxlan, gre and ipip.
t.test('wireguard', async (t) => {
  t.equal(await move(t, wireguard()), 'wireguard')
})

t.test('tun', async (t) => {
  const loader = readFileSync(kLoader, 'utf8')
  writeFileSync(kLoader, '/bin/false')
  t.teardown(() => writeFileSync(kLoader, loader))
  t.equal(await move(t, () => ({ tls: false })), 'tun', 'as the kernel has none')
})

for (const kind of ['gre', 'ipip']) {
  t.test(kind, async (t) => {
    t.equal(await move(t, () => ({ kind })), kind)
  })
}
