// A virtual machine with a web server, under QEMU's software emulation. Its disk is an NBD export
// or a file, its network a tap device; both must be there before it starts.

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { guestKernel, type GuestKernel } from './kernel.js'
import { end, hasEnded, start } from '../support/process.js'
import { qemu } from './qemu.js'

/** The ids of the guest's disk in QEMU: of the block node, and of the device. */
export const diskNode = 'disk'
export const diskDevice = 'disk0'
/** With a `diskFile`: the id of the node for the file itself, under the disk's. */
export const fileNode = 'disk-file'
/** The id of its network device. */
export const networkDevice = 'net0'

export interface GuestOptions {
  /** The host that it runs on. */
  readonly namespace: string
  /** A folder for its sockets and logs; both ends of a migration can share one. */
  readonly folder: string
  /** Distinguishes the files in `folder`. Default: the namespace's name. */
  readonly name?: string
  /** A Unix socket that serves the disk over NBD. */
  readonly nbdSocket?: string
  /** Default: 'disk'. */
  readonly nbdExport?: string
  /** Without `nbdSocket`: the disk is this raw file or block device, which QEMU opens itself. */
  readonly diskFile?: string
  /** A tap device in the namespace. */
  readonly tapDevice: string
  /** Of both ends of a migration the same. Default: 52:54:00:bf:00:01. */
  readonly mac?: string
  /** Its address and the bits of its network: '10.80.0.10/24'. */
  readonly address: string
  readonly gateway?: string
  /** The same for IPv6, both or none; a gateway's link-local address will do. */
  readonly address6?: string
  readonly gateway6?: string
  /** Default: 256. */
  readonly memoryMiB?: number
  /** It waits, paused, for `migrate-incoming` on its QMP socket. Default: false. */
  readonly incoming?: boolean
  /** Seconds that it holds requests when the NBD server is gone. Default: 0, they fail at once. */
  readonly reconnectSeconds?: number
}

export class Guest {
  /** QMP, for one client at a time. */
  readonly qmpSocket: string
  /** A second QMP socket, for who watches the first one's client. */
  readonly monitorSocket: string
  /** What the guest says, and QEMU's own errors. */
  readonly serialLog: string
  readonly errorLog: string
  readonly #child: ChildProcess

  static async start (options: GuestOptions): Promise<Guest> {
    const kernel = await guestKernel()
    const { program, args, environment } = await qemu()
    return new Guest(options, [program, ...args, ...kernelArguments(kernel, options)], environment)
  }

  private constructor (
    options: GuestOptions,
    command: string[],
    environment: Readonly<Record<string, string>>
  ) {
    const { folder, namespace, name = namespace } = options
    this.qmpSocket = join(folder, `${name}.qmp`)
    this.monitorSocket = join(folder, `${name}.monitor`)
    this.serialLog = join(folder, `${name}.serial`)
    this.errorLog = join(folder, `${name}.qemu`)
    const errors = openSync(this.errorLog, 'w')
    const controls = [this.qmpSocket, this.monitorSocket].flatMap((path) => [
      '-qmp',
      `unix:${path},server=on,wait=off`
    ])
    const serial = ['-serial', `file:${this.serialLog}`]
    const whole = [...command, ...deviceArguments(options), ...controls, ...serial]
    this.#child = start(whole, { namespace, environment, stdio: ['ignore', errors, errors] })
    this.#child.once('error', (error) => writeSync(errors, String(error)))
    this.#child.once('close', () => closeSync(errors))
  }

  get pid (): number {
    if (this.#child.pid === undefined) throw new Error('QEMU did not start')
    return this.#child.pid
  }

  get hasEnded (): boolean {
    return hasEnded(this.#child)
  }

  /**
   * Waits until its web server answers at `url`, asked from a namespace (the clients').
   * @param seconds how long at most. Default: 120.
   */
  async waitReady (url: string, namespace: string, seconds = 120): Promise<void> {
    const program = new URL('../clients/programs/wait-until-ready.js', import.meta.url).pathname
    const command = [process.execPath, program, url, String(seconds)]
    if (this.hasEnded) throw new Error(`the guest has ended: ${this.says()}`)
    const asking = start(command, { namespace })
    const giveUp = () => asking.kill()
    this.#child.once('exit', giveUp)
    const [code] = await once(asking, 'exit')
    this.#child.off('exit', giveUp)
    if (code !== 0) throw new Error(`the guest is not ready: ${this.says()}`)
  }

  /** Waits until QEMU has made its monitors. */
  async untilMonitored (): Promise<void> {
    while (!existsSync(this.monitorSocket)) {
      if (this.hasEnded) throw new Error(`QEMU has ended: ${this.says()}`)
      await sleep(20)
    }
  }

  /** The end of what it said on its serial line, and of QEMU's errors. */
  says (): string {
    return [this.serialLog, this.errorLog].map((path) => tail(path)).join('\n')
  }

  /** Waits until it has ended by itself. */
  async ended (): Promise<void> {
    if (!this.hasEnded) await once(this.#child, 'exit')
  }

  /** Ends QEMU at once, as a crash of the host would. */
  async kill (): Promise<void> {
    await end(this.#child)
  }
}

function tail (path: string): string {
  try {
    return readFileSync(path, 'utf8').slice(-2000)
  } catch {
    return ''
  }
}

function kernelArguments ({ kernel, initrd }: GuestKernel, options: GuestOptions): string[] {
  const { address, gateway, address6, gateway6 } = options
  const line = [
    ...['console=ttyS0', 'quiet', 'panic=-1', 'mitigations=off', 'nokaslr'],
    ...['random.trust_cpu=on', ...clockArguments(), `guest.address=${address}`],
    ...(gateway === undefined ? [] : [`guest.gateway=${gateway}`]),
    ...(address6 === undefined ? [] : [`guest.address6=${address6} guest.gateway6=${gateway6}`])
  ]
  return ['-kernel', kernel, '-initrd', initrd, '-append', line.join(' ')]
}

// The guest would measure its clock against a timer, which takes a while and goes wrong under
// emulation on a busy machine. Under emulation it runs at the real processor's rate.
export function clockArguments (): string[] {
  const rate = /^cpu MHz\s*: ([\d.]+)/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]
  return rate === undefined ? [] : [`tsc_early_khz=${Math.round(Number(rate) * 1000)}`]
}

function blockNodes (options: GuestOptions): object[] {
  const { nbdSocket, nbdExport = 'disk', diskFile, reconnectSeconds = 0 } = options
  const node = { 'node-name': diskNode, discard: 'unmap' }
  if (nbdSocket !== undefined) {
    const server = { type: 'unix', path: nbdSocket }
    const reconnect = { 'reconnect-delay': reconnectSeconds }
    return [{ ...node, driver: 'nbd', export: nbdExport, server, ...reconnect }]
  }
  if (diskFile === undefined) throw new Error('a guest needs an nbdSocket or a diskFile')
  const driver = statSync(diskFile).isBlockDevice() ? 'host_device' : 'file'
  const file = { ...node, 'node-name': fileNode, driver, filename: diskFile }
  return [file, { ...node, driver: 'raw', file: fileNode }]
}

function deviceArguments (options: GuestOptions): string[] {
  const { tapDevice, mac = '52:54:00:bf:00:01', memoryMiB = 256, incoming = false } = options
  return [
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ...['-machine', 'pc,usb=off', '-accel', 'tcg,thread=multi', '-cpu', 'max,la57=off'],
    ...['-smp', '1', '-m', String(memoryMiB)],
    ...blockNodes(options).flatMap((node) => ['-blockdev', JSON.stringify(node)]),
    ...['-device', `virtio-blk-pci,id=${diskDevice},drive=${diskNode}`],
    ...['-netdev', `tap,id=net,ifname=${tapDevice},script=no,downscript=no,vhost=off`],
    ...['-device', `virtio-net-pci,id=${networkDevice},netdev=net,mac=${mac},romfile=`],
    ...(incoming ? ['-incoming', 'defer', '-S'] : [])
  ]
}
