// A guest of Xen (a domU): Debian's kernel and a system in memory with a web server, and writers to
// its disks who log each write that was acknowledged. The log is in its memory and goes where it goes.

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { writeFileSync } from 'node:fs'
import { parseLog, type Writes } from './writes.js'
import { initialDisk, xenFolder, xenKernel } from './xen-kernel.js'
import type { XenHost } from './xen-host.js'

const kReadyMs = 180_000
const kModules = ['xen-blkfront', 'xen-netfront'] as const

export interface XenGuestOptions {
  /** Default: 'web'. */
  readonly name?: string
  /** 'pvh' has nested paging and needs no shadow paging to migrate live. Default: 'pv'. */
  readonly type?: 'pv' | 'pvh'
  /** As xl's configuration names them, without the device: 'phy:/dev/mapper/web'. They become
   * xvda, xvdb, … in the guest. */
  readonly disks: readonly string[]
  /** Default: 96; 128 of the type 'pvh'. */
  readonly memoryMiB?: number
  /** In the network of the bridges. Default: 10.8.0.10. */
  readonly address?: string
  /** Of each disk. Default: 2. */
  readonly writers?: number
  /** Between two writes of one writer, µs. Default: 20,000. */
  readonly pauseMicros?: number
  /** How many blocks of a disk are written to. Default: all. */
  readonly spanBlocks?: number
}

/** The guest, on whichever host it is. */
export class XenGuest {
  readonly name: string
  readonly address: string
  readonly #disks: string[]
  readonly #writers: number

  constructor (readonly options: XenGuestOptions) {
    this.name = options.name ?? 'web'
    this.address = options.address ?? '10.8.0.10'
    this.#disks = options.disks.map((_disk, index) => `xvd${'abcdefgh'[index]}`)
    this.#writers = options.writers ?? 2
  }

  /** Creates it and waits until its web server answers. */
  static async create (host: XenHost, options: XenGuestOptions): Promise<XenGuest> {
    const guest = new XenGuest(options)
    const config = await guest.configure(host)
    await host.must(`xl create ${config}`)
    await guest.ready(host)
    return guest
  }

  /** Puts its configuration on a host. Answers the path there. */
  async configure (host: XenHost): Promise<string> {
    writeFileSync(join(host.folder, `${this.name}.cfg`), await this.#configuration())
    return `/shared/${this.name}.cfg`
  }

  async ready (host: XenHost): Promise<void> {
    const until = Date.now() + kReadyMs
    while (!(await this.get(host, '').catch(() => '')).includes('guest: hello')) {
      if (Date.now() > until) throw new Error(`${this.name} is not ready: ${await this.says(host)}`)
      await sleep(250)
    }
  }

  /** What its web server answers a host that asks. */
  async get (host: XenHost, path: string, more = ''): Promise<string> {
    return await host.must(`busybox timeout 10 busybox wget -q -O - http://${this.address}/${path} ${more}`, 20_000)
  }

  /** Ends the writers, each after its write has been acknowledged. */
  async stopWriters (host: XenHost): Promise<void> {
    await host.must(`busybox wget -q -O - http://${this.address}/cgi-bin/stop`)
  }

  /** What was acknowledged until now: for each disk, of each writer. */
  async writes (host: XenHost): Promise<Writes[][]> {
    const numbers = Array.from({ length: this.#writers }, (_value, index) => index + 1)
    return await Promise.all(this.#disks.map(async (disk) =>
      await Promise.all(numbers.map(async (number) => {
        const log = await this.get(host, `${disk}-${number}`, '| base64 -w0')
        return parseLog(Buffer.from(log, 'base64'))
      }))))
  }

  /** What it said on its console on this host. */
  async says (host: XenHost): Promise<string> {
    return (await host.run(`tail -n 40 /var/log/xen/guest-${this.name}.log; xl list`)).output
  }

  async #configuration (): Promise<string> {
    const { type = 'pv', disks, pauseMicros = 20_000, spanBlocks = 0 } = this.options
    const { memoryMiB = type === 'pv' ? 96 : 128 } = this.options
    const { vmlinux } = await xenKernel()
    const init = join(xenFolder, 'domu/init')
    const initrd = await initialDisk('xen-domu-initrd', {
      init, modules: kModules, programs: { writer: 'domu/writer.c' }
    })
    const line = [
      'console=hvc0', 'quiet', 'mitigations=off', 'clocksource=xen', 'random.trust_cpu=on',
      `guest.address=${this.address}/24`, `guest.disks=${this.#disks.join(',')}`,
      `guest.writers=${this.#writers}`, `guest.pause=${pauseMicros}`, `guest.span=${spanBlocks}`
    ]
    const list = (names: readonly string[]) => `[ ${names.map((name) => `"${name}"`).join(', ')} ]`
    return [
      `name = "${this.name}"`, `type = "${type}"`, `kernel = "${vmlinux}"`, `ramdisk = "${initrd}"`,
      `cmdline = "${line.join(' ')}"`, `memory = ${memoryMiB}`, 'vcpus = 1',
      `disk = ${list(disks.map((disk, index) => `${disk},${this.#disks[index]},w`))}`,
      `vif = ${list([`mac=${macOf(this.address)},bridge=xenbr0`])}`,
      'on_crash = "preserve"', 'on_reboot = "destroy"', ''
    ].join('\n')
  }
}

function macOf (address: string): string {
  return `00:16:3e:00:00:${Number(address.split('.')[3]).toString(16).padStart(2, '0')}`
}
