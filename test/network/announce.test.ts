// Both hosts on one link: the neighbours and the switch between them learn at once where the machine
// is, though it says nothing itself.
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'

import { Namespace } from '../../testbed/hosts/namespace.js'
import { announce } from '../../lib/index.js'
import { missing } from '../../testbed/sites/setting.js'

const skip = await missing()
const kMac = '02:00:00:00:00:10'

interface Lan { a: Namespace, b: Namespace, middle: Namespace, client: Namespace, machine: Namespace }

/** Two hosts and a client on a switch; the machine's device is at B, with nothing to say. */
async function lan (t: Test): Promise<Lan> {
  const names = ['a', 'b', 'switch', 'client', 'machine'] as const
  const [a, b, middle, client, machine] = await Promise.all(names.map((name) => Namespace.make(name))) as
    [Namespace, Namespace, Namespace, Namespace, Namespace]
  t.teardown(() => { for (const one of [a, b, middle, client, machine]) one.close() })
  for (const one of [b, client, middle]) {
    await one.run('sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=0', 'net.ipv6.conf.default.disable_ipv6=0')
  }
  await middle.addBridge('access')
  for (const [host, port] of [[a, 'to-a'], [b, 'to-b']] as const) {
    await host.addBridge('lan')
    await host.connect('uplink', middle, port)
    await host.join('uplink', 'lan')
    await middle.join(port, 'access')
  }
  await client.connect('eth0', middle, 'to-client')
  await middle.join('to-client', 'access')
  await client.address('eth0', '10.0.0.1/24')
  await client.ip('address', 'add', 'fd00::1/64', 'dev', 'eth0', 'nodad')
  return { a, b, middle, client, machine }
}

function devices (text: string): string[] {
  return text.trim().split('\n').map((line) => line.split(/\s+/)[0]!)
}

t.test('a switch and a neighbour learn it', { skip }, async (t) => {
  const { b, middle, client } = await lan(t)
  // As they knew it before the move; the neighbour another hardware address, to see it change.
  await middle.run('bridge', 'fdb', 'replace', kMac, 'dev', 'to-a', 'master', 'dynamic')
  await client.ip('neigh', 'replace', '10.0.0.10', 'lladdr', '02:00:00:00:00:99', 'nud', 'stale', 'dev', 'eth0')
  await client.ip('neigh', 'replace', 'fd00::10', 'lladdr', '02:00:00:00:00:99', 'nud', 'stale', 'dev', 'eth0')
  const code = `
    const { announce } = await import('${new URL('../../lib/index.js', import.meta.url).href}')
    const network = announce({ address: ['10.0.0.10', 'fd00::10'], mac: '${kMac}', device: 'lan' })
    await network.prepare()
    await network.switchOver()`
  const before = devices(await b.ip('-br', 'link'))
  await b.run(process.execPath, '--input-type=module', '-e', code)
  await sleep(100)
  t.match(await middle.run('bridge', 'fdb', 'show', 'br', 'access'), new RegExp(`${kMac} dev to-b`))
  t.match(await client.ip('neigh', 'show', '10.0.0.10'), new RegExp(kMac))
  t.match(await client.ip('neigh', 'show', 'fd00::10'), new RegExp(kMac))
  t.same(devices(await b.ip('-br', 'link')), before, 'nothing is left')
})

t.test('nonsense', async (t) => {
  const good = { address: '10.0.0.1', mac: kMac, device: 'lan' }
  for (const bad of [{ address: 'x' }, { mac: 'x' }, { device: 'a b' }]) {
    t.throws(() => announce({ ...good, ...bad }), { code: 'INVALID' })
  }
})
