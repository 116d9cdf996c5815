// Two hosts, the link between them, and the clients of a machine that runs on one of them.
//
//               client ── switch ─┬─ bridge on A ── guest0         A ══ link ══ B
//                                 └─ bridge on B ── guest0
//
// The machine's clients reach both hosts over a network of their own, so the machine keeps its
// address; the migration has the link to itself. With `stretched` there is no cable to B: the
// network of the clients goes on to B over the link, together with the migration.
//
//               client ── switch ─── bridge on A ══ link ══ bridge on B
//                                        └─ guest0              └─ guest0

import { EmulatedLink, PlainLink, type LinkOptions, type Link } from './link.js'
import { Namespace } from './namespace.js'

export interface HostsOptions {
  /** Without it: a plain link, as fast as it goes. */
  readonly link?: LinkOptions
  /** See above. Default: false. */
  readonly stretched?: boolean
  /** What the link loses at random is the same for the same number. Default: 1. */
  readonly seed?: number
}

export interface Host {
  readonly namespace: string
  /** Where the other host reaches it over the link. */
  readonly address: string
  /** For a machine; on the network of the clients. */
  readonly tapDevice: string
  /** For a second one. */
  readonly secondTapDevice: string
}

/** What a machine that moves between the hosts has for its address. */
export const guestAddress = '10.80.0.10'
export const guestNetwork = `${guestAddress}/24`
/** The same of a second one. */
export const secondGuestAddress = '10.80.0.11'

const access = 'access'
const linkDevice = 'link'
const tapDevice = 'guest0'
const secondTapDevice = 'guest1'
const clientAddress = '10.80.0.1/24'
const hostAddresses = { a: '10.81.0.1', b: '10.81.0.2' }

export class Hosts {
  readonly a: Host
  readonly b: Host
  /** The namespace of the clients. */
  readonly client: string
  readonly link: Link
  readonly #namespaces: Namespace[]

  /** Needs root. All of it goes at the end of this process, if not with close(). */
  static async make (options: HostsOptions = {}): Promise<Hosts> {
    const namespaces: Namespace[] = []
    try {
      for (const label of ['a', 'b', 'switch', 'client']) {
        namespaces.push(await Namespace.make(label))
      }
      const link = await connect(namespaces as Four, options)
      return new Hosts(namespaces as Four, link)
    } catch (error) {
      for (const namespace of namespaces) namespace.close()
      throw error
    }
  }

  private constructor (namespaces: Four, link: Link) {
    const [a, b, , client] = namespaces
    const taps = { tapDevice, secondTapDevice }
    this.a = { namespace: a.name, address: hostAddresses.a, ...taps }
    this.b = { namespace: b.name, address: hostAddresses.b, ...taps }
    this.client = client.name
    this.link = link
    this.#namespaces = namespaces
  }

  /** Whatever runs on the hosts must have been ended before. */
  async close (): Promise<void> {
    await this.link.close()
    for (const namespace of this.#namespaces) namespace.close()
  }
}

type Four = [a: Namespace, b: Namespace, middle: Namespace, client: Namespace]

async function connect ([a, b, middle, client]: Four, options: HostsOptions): Promise<Link> {
  const { link, stretched = false, seed = 1 } = options
  await middle.addBridge(access)
  await client.connect(access, middle, 'client')
  await client.address(access, clientAddress)
  await middle.join('client', access)
  for (const host of [a, b]) {
    await host.addBridge(access)
    for (const name of [tapDevice, secondTapDevice]) await host.addTap(name, access)
  }
  for (const [host, far] of [[a, 'host-a'], [b, 'host-b']] as const) {
    if (stretched && host === b) continue
    await host.connect('uplink', middle, far)
    await host.join('uplink', access)
    await middle.join(far, access)
  }
  if (stretched) return stretch(a, b, link ?? {}, seed)
  return separate(a, b, middle, link, seed)
}

async function stretch (
  a: Namespace,
  b: Namespace,
  options: LinkOptions,
  seed: number
): Promise<Link> {
  const link = await EmulatedLink.open('tap', [a, b], linkDevice, options, seed)
  for (const host of [a, b]) await host.join(linkDevice, access)
  await addAddresses(a, b, access)
  return link
}

async function separate (
  a: Namespace,
  b: Namespace,
  middle: Namespace,
  options: LinkOptions | undefined,
  seed: number
): Promise<Link> {
  const link =
    options === undefined
      ? await PlainLink.open([a, b], middle, linkDevice)
      : await EmulatedLink.open('tun', [a, b], linkDevice, options, seed)
  for (const host of [a, b]) await host.ip('link', 'set', 'dev', linkDevice, 'up')
  await addAddresses(a, b, linkDevice)
  return link
}

async function addAddresses (a: Namespace, b: Namespace, device: string): Promise<void> {
  await a.address(device, `${hostAddresses.a}/24`)
  await b.address(device, `${hostAddresses.b}/24`)
}
