// For hosts that share a link: the machine keeps its address, and only its place changes. Tells the
// neighbours and the switches between them (gratuitous ARP, unsolicited neighbour advertisement),
// with the machine's own hardware address, for machines that don't do it themselves (QEMU does).
//
// The kernel says it when a device with that hardware address comes up; ours is in a network
// namespace of its own, so that the host never has the machine's address itself.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

import { BlockferryError } from '../base/errors.js'
import type { Addresses } from './addresses.js'
import { addressesOf, host } from './addresses.js'
import { execute } from '../base/external-tool.js'
import { run } from './command.js'
import { checkDevice, links } from './ip.js'
import type { Network } from './network.js'
import { checkPermission } from './permission.js'

export interface AnnounceOptions {
  /** The machine's addresses, one of each family at most. */
  address: string | readonly string[]
  /** The machine's hardware address. */
  mac: string
  /** The bridge that the machine is on, or the device that leads to its neighbours. */
  device: string
}

const kSayMs = 300

class Announcement implements Network {
  readonly #addresses: Addresses
  readonly #mac: string
  readonly #device: string
  #namespace: string | null = null

  constructor ({ address, mac, device }: AnnounceOptions) {
    this.#addresses = addressesOf('address', address)
    if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac)) {
      throw new BlockferryError('INVALID', `mac: ${mac} is no hardware address`)
    }
    this.#mac = mac.toLowerCase()
    this.#device = checkDevice('device', device)
  }

  /** A device that is ready to speak, and silent. */
  async prepare (): Promise<void> {
    await checkPermission()
    if (!(await links()).some(({ ifname }) => ifname === this.#device)) {
      throw new BlockferryError('NETWORK', `device: there is no device ${this.#device} here`)
    }
    const name = this.#namespace = `ferry-${randomBytes(4).toString('hex')}`
    try {
      await run('ip', ['netns', 'add', name])
      await this.#addDevice(name)
    } catch (error) {
      await this.undo()
      throw error
    }
  }

  async #addDevice (name: string): Promise<void> {
    const own = ['type', 'macvlan', 'mode', 'private']
    await run('ip', [
      ...['link', 'add', 'link', this.#device, 'name', 'say', 'address', this.#mac],
      ...['netns', name, ...own]
    ])
    const { 4: four, 6: six } = this.#addresses
    const settings = [
      'net/ipv4/conf/say/arp_notify=1', 'net/ipv6/conf/say/ndisc_notify=1',
      'net/ipv6/conf/say/disable_ipv6=0', 'net/ipv6/conf/say/accept_dad=0',
      'net/ipv6/conf/say/accept_ra=0', 'net/ipv6/conf/say/addr_gen_mode=1'
    ]
    for (const setting of settings) {
      // Without IPv6 there are none of its settings.
      if (six !== null || setting.includes('ipv4')) {
        await run('ip', ['netns', 'exec', name, 'sysctl', '-qw', setting])
      }
    }
    const add = ['-n', name, 'address', 'add', 'dev', 'say']
    if (four !== null) await run('ip', [...add, host(four)])
    if (six !== null) await run('ip', [...add, host(six), 'nodad'])
  }

  async switchOver (): Promise<void> {
    if (this.#namespace === null) throw new BlockferryError('NETWORK', 'prepare() comes first')
    await this.#forget()
    await run('ip', ['-n', this.#namespace, 'link', 'set', 'dev', 'say', 'up'])
    // IPv6 says it a little later.
    if (this.#addresses[6] !== null) await sleep(kSayMs)
    await this.undo()
  }

  /** A bridge here that saw the machine on another port learns from what it says now; an entry
   * that somebody made fast for its uplinks would stay. */
  async #forget (): Promise<void> {
    const ports = (await links()).filter(({ master }) => master === this.#device)
    for (const { ifname } of ports) {
      await execute('bridge', ['fdb', 'delete', this.#mac, 'dev', ifname, 'master'])
    }
  }

  async undo (): Promise<void> {
    const name = this.#namespace
    this.#namespace = null
    if (name !== null) await execute('ip', ['netns', 'delete', name])
  }
}

/** For receive() as its network when both hosts are on one link: the machine's neighbours learn
 * at once where it is. It takes root. INVALID. */
export function announce (options: AnnounceOptions): Network {
  return new Announcement(options)
}
