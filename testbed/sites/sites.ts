// Two sites with addresses of their own, a client's and a name server's network, and a router
// between them that drops packets whose source does not belong where they come from.
//
//    machine ── cable ─┬─ guest0, bridge on A ── router ── client
//                      └─ guest0, bridge on B ──┘    └──── names
//
// The cable leads to one of the hosts; the machine never loses its carrier, so nobody tells it (nor
// the hosts) that it has moved, and it knows the neighbours of the old site, as after a migration.
import { EmulatedLink, type LinkOptions } from '../hosts/link.js'
import { Namespace } from '../hosts/namespace.js'
import { run } from '../support/command.js'

export const kMachine = { 4: '10.10.0.10', 6: 'fd10::10' }
export const kFresh = { 4: '10.20.0.10', 6: 'fd20::10' }
export const kHostA = { 4: '10.10.0.2', 6: 'fd10::2' }
export const kHostB = { 4: '10.20.0.2', 6: 'fd20::2' }
export const kRouterA = { 4: '10.10.0.1', 6: 'fe80::1' }
export const kNames = '10.40.0.2'
export const kName = 'www.example.test'

const kNetworks = { a: 10, b: 20, client: 30, names: 40 }
type Place = keyof typeof kNetworks

export class Sites {
  readonly a: Namespace
  readonly b: Namespace
  readonly client: Namespace
  readonly names: Namespace
  readonly machine: Namespace
  readonly router: Namespace
  readonly #cable: Namespace
  #link: EmulatedLink | null = null

  /** With `vm` the hosts have a tap device `guest0` for a virtual machine instead of the cable;
   * `link`: what is between site B and the router, default as fast as it goes. */
  static async make ({ vm = false, link }: { vm?: boolean, link?: LinkOptions } = {}): Promise<Sites> {
    const all = []
    for (const label of ['a', 'b', 'client', 'names', 'machine', 'router', 'cable']) {
      const namespace = await Namespace.make(label)
      all.push(namespace)
      await settings(namespace, label)
    }
    const sites = new Sites(all)
    await sites.#connect(vm, link)
    return sites
  }

  private constructor (all: Namespace[]) {
    const [a, b, client, names, machine, router, cable] = all as [
      Namespace, Namespace, Namespace, Namespace, Namespace, Namespace, Namespace]
    this.a = a
    this.b = b
    this.client = client
    this.names = names
    this.machine = machine
    this.router = router
    this.#cable = cable
  }

  async #connect (vm: boolean, link?: LinkOptions): Promise<void> {
    const { a, b, client, names, machine, router } = this
    for (const [place, namespace] of Object.entries({ a, b, client, names })) {
      const net = kNetworks[place as Place]
      if (place === 'b' && link !== undefined) await this.#emulate(link)
      else await namespace.connect('uplink', router, place)
      await router.address(place, `10.${net}.0.1/24`)
      await router.address(place, `fd${net}::1/64`)
      await router.address(place, 'fe80::1/64')
      const isHost = place === 'a' || place === 'b'
      if (isHost) {
        await namespace.addBridge('lan')
        await namespace.join('uplink', 'lan')
        if (vm) await namespace.addTap('guest0', 'lan')
        else await namespace.connect('guest0', this.#cable, `to-${place}`)
        await namespace.join('guest0', 'lan')
      }
      await settle(namespace, isHost ? 'lan' : 'uplink', net, 2)
    }
    await this.#filter()
    if (vm) return
    await this.#cable.addBridge('cable')
    await machine.connect('eth0', this.#cable, 'to-machine')
    await this.#cable.join('to-machine', 'cable')
    await settle(machine, 'eth0', kNetworks.a, 10)
    await this.plug('a')
  }

  async #emulate (options: LinkOptions): Promise<void> {
    this.#link = await EmulatedLink.open('tap', [this.router, this.b], 'wan', options)
    for (const [namespace, name] of [[this.router, 'b'], [this.b, 'uplink']] as const) {
      await namespace.ip('link', 'set', 'dev', 'wan', 'name', name)
      await namespace.ip('link', 'set', 'dev', name, 'up')
    }
  }

  /** Drops what comes with another site's address, and counts it. */
  async #filter (): Promise<void> {
    const rules = Object.entries(kNetworks).flatMap(([place, net]) => [
      `iifname "${place}" ip saddr != 10.${net}.0.0/24 counter drop`,
      `iifname "${place}" ip6 saddr != { fd${net}::/64, fe80::/10 } counter drop`
    ])
    const lines = ['type filter hook forward priority 0; policy accept', ...rules].join('\n')
    await this.router.run('nft', `table inet wrong {\nchain forward {\n${lines}\n}\n}`)
  }

  /** Packets that the router has dropped. */
  async wrongSources (): Promise<number> {
    const text = await this.router.run('nft', 'list', 'table', 'inet', 'wrong')
    return [...text.matchAll(/packets (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0)
  }

  /** The machine is at this host from now on. */
  async plug (place: 'a' | 'b'): Promise<void> {
    const other = place === 'a' ? 'b' : 'a'
    await this.#cable.ip('link', 'set', 'dev', `to-${other}`, 'nomaster')
    await this.#cable.join(`to-${place}`, 'cable')
  }

  close (): void {
    void this.#link?.close()
    const { a, b, client, names, machine, router } = this
    for (const namespace of [a, b, client, names, machine, router, this.#cable]) namespace.close()
  }
}

async function settings (namespace: Namespace, label: string): Promise<void> {
  const forwards = ['a', 'b', 'router'].includes(label) ? 1 : 0
  // Strict: what comes the wrong way is dropped by the hosts, too.
  const values = {
    'net/ipv6/conf/default/disable_ipv6': 0,
    'net/ipv6/conf/all/disable_ipv6': 0,
    'net/ipv6/conf/default/accept_dad': 0,
    'net/ipv6/conf/default/accept_ra': 0,
    'net/ipv4/conf/all/rp_filter': 1,
    'net/ipv4/ip_forward': forwards,
    'net/ipv6/conf/all/forwarding': forwards
  }
  const lines = Object.entries(values).map(([path, value]) => `echo ${value} > /proc/sys/${path}`)
  await run('ip', 'netns', 'exec', namespace.name, 'sh', '-c', lines.join('\n'))
}

async function settle (namespace: Namespace, device: string, net: number, last: number): Promise<void> {
  await namespace.address(device, `10.${net}.0.${last}/24`)
  await namespace.address(device, `fd${net}::${last}/64`)
  await namespace.ip('route', 'add', 'default', 'via', `10.${net}.0.1`)
  await namespace.ip('-6', 'route', 'add', 'default', 'via', 'fe80::1', 'dev', device)
}
