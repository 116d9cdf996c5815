// Network namespaces: each is a machine of its own as far as its network goes. Needs root.

import { atEnd } from '../support/cleanup.js'
import { run, runSync } from '../support/command.js'

let made = 0

export class Namespace {
  readonly name: string
  #isClosed = false

  /** Makes one with a loopback. It goes at the end of this process, if not before. */
  static async make (label: string): Promise<Namespace> {
    made += 1
    const namespace = new Namespace(`blockferry-${process.pid}-${made}-${label}`)
    await run('ip', 'netns', 'add', namespace.name)
    atEnd(() => namespace.close())
    // Its addresses are IPv4: without the other kind, nothing speaks unasked.
    const quiet = 'for i in all default; do echo 1 > /proc/sys/net/ipv6/conf/$i/disable_ipv6; done'
    await run('ip', 'netns', 'exec', namespace.name, 'sh', '-c', `${quiet} 2>/dev/null || true`)
    await namespace.ip('link', 'set', 'dev', 'lo', 'up')
    return namespace
  }

  private constructor (name: string) {
    this.name = name
  }

  /** Runs `ip` for it, with words as on the command line. */
  async ip (...words: string[]): Promise<string> {
    return run('ip', '-n', this.name, ...words)
  }

  /** Runs a command in it and answers its output. */
  async run (...command: string[]): Promise<string> {
    return run('ip', 'netns', 'exec', this.name, ...command)
  }

  /** A bridge that forwards from the first packet on. */
  async addBridge (name: string): Promise<void> {
    const options = ['forward_delay', '0', 'mcast_snooping', '0']
    await this.ip('link', 'add', 'name', name, 'type', 'bridge', ...options)
    await this.ip('link', 'set', 'dev', name, 'up')
  }

  /** A tap device, for a virtual machine, on a bridge. */
  async addTap (name: string, bridge: string): Promise<void> {
    await this.ip('tuntap', 'add', 'dev', name, 'mode', 'tap')
    await this.join(name, bridge)
  }

  /** A cable to another namespace, `device` at this end and `far` at the other. */
  async connect (device: string, other: Namespace, far: string): Promise<void> {
    const peer = ['peer', 'name', far, 'netns', other.name]
    await this.ip('link', 'add', 'name', device, 'type', 'veth', ...peer)
    await this.ip('link', 'set', 'dev', device, 'up')
    await other.ip('link', 'set', 'dev', far, 'up')
  }

  /** Puts a device on a bridge. */
  async join (device: string, bridge: string): Promise<void> {
    await this.ip('link', 'set', 'dev', device, 'master', bridge, 'up')
  }

  async address (device: string, address: string): Promise<void> {
    await this.ip('address', 'add', address, 'dev', device)
  }

  /** Removes it with all its devices. Processes in it are for others to end. */
  close (): void {
    if (this.#isClosed) return
    this.#isClosed = true
    runSync('ip', 'netns', 'delete', this.name)
  }
}
