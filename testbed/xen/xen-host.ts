// A host of Xen: the hypervisor under QEMU's software emulation, and dom0 with this system's files
// as its root (read-only, changes stay in memory), so with Node and this repository where they are
// here. It has no network but the link to another such host.

import type { ChildProcess } from 'node:child_process'
import { closeSync, copyFileSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { Qmp } from '../../lib/machine/qmp.js'
import { end, hasEnded, start } from '../support/process.js'
import { qemu } from '../guests/qemu.js'
import { kAgentPort } from './agent-port.js'
import { Running, type Result } from './commands.js'
import { xenFolder, xenKernel } from './xen-kernel.js'
import { xenTools } from './xen-tools.js'

const kBootMs = 240_000
const kCommandMs = 300_000
const kAgent = new URL('programs/agent.js', import.meta.url).pathname

export interface XenHostOptions {
  /** Its address is 10.8.0.NUMBER. Default: 1. */
  readonly number?: number
  /** A Unix socket, the link to another host: 1 makes it, others connect. Default: no link. */
  readonly link?: string
  /** Sizes of its disks: /dev/vda, /dev/vdb, … Default: one of 256. */
  readonly diskMiB?: readonly number[]
  /** Default: 768. */
  readonly dom0MiB?: number
  /** For its guests. Default: 384. */
  readonly guestsMiB?: number
}

export class XenHost {
  /** What is in it is in dom0's /shared. */
  readonly folder: string
  /** On the link, in the bridge xenbr0. */
  readonly address: string
  readonly #child: ChildProcess
  readonly #serial: string
  #port = 0

  /** Boots it, until it runs commands: half a minute. */
  static async boot (options: XenHostOptions = {}): Promise<XenHost> {
    const number = options.number ?? 1
    const root = mkdtempSync(join(tmpdir(), `xen${number}-`))
    const host = new XenHost(root, number, await commandFor(options, number, root))
    try {
      await host.#ready()
      return host
    } catch (error) {
      const says = host.says()
      await host.close()
      throw new Error(`Xen has not booted: ${(error as Error).message}\n${says}`)
    }
  }

  private constructor (readonly root: string, number: number, { command, environment }: Command) {
    this.address = `10.8.0.${number}`
    this.folder = join(root, 'shared')
    this.#serial = join(root, 'serial')
    const errors = openSync(join(root, 'errors'), 'w')
    this.#child = start(command, { environment, stdio: ['ignore', errors, errors] })
    closeSync(errors)
  }

  /** Runs a line of shell as root and waits for its end. Throws when that takes too long. */
  async run (command: string, timeoutMs = kCommandMs): Promise<Result> {
    const running = this.start(command)
    const timer = setTimeout(() => running.kill(), timeoutMs)
    try {
      return await running.ended
    } finally {
      clearTimeout(timer)
    }
  }

  /** Like run(), but throws when the command fails. Answers what it printed. */
  async must (command: string, timeoutMs = kCommandMs): Promise<string> {
    const { code, output } = await this.run(command, timeoutMs)
    if (code !== 0) throw new Error(`${command} has ended with ${code}: ${output}`)
    return output
  }

  /** Starts a line of shell, and does not wait. */
  start (command: string): Running {
    return new Running(this.#port, `${kEnvironment}\n${command}`)
  }

  /** The command line that runs one of our compiled programs, by its path in the repository. */
  program (name: string, ...args: string[]): string {
    return commandLine(`../../${name}.js`, args)
  }

  /** The same of `blockferry`. */
  cli (...args: string[]): string {
    return commandLine('../../lib/cli.js', args)
  }

  /** The end of what hypervisor and kernel said, and of QEMU's errors. */
  says (): string {
    return [this.#serial, join(this.root, 'errors')].map((path) => tail(path)).join('\n')
  }

  /** The file that is its disk /dev/vda, /dev/vdb, …: a write that the host has done is there. */
  disk (index = 0): string {
    return diskPath(this.root, index)
  }

  get hasEnded (): boolean {
    return hasEnded(this.#child)
  }

  /** As if its power were cut. Its folder goes as well. */
  async close (): Promise<void> {
    await end(this.#child)
    rmSync(this.root, { recursive: true, force: true })
  }

  async #ready (): Promise<void> {
    const until = Date.now() + kBootMs
    this.#port = await forwardedPort(join(this.root, 'qmp'), () => this.hasEnded)
    while (!await this.#answers()) {
      if (this.hasEnded) throw new Error('QEMU has ended')
      if (/Panic on CPU|Kernel panic|dom0 gives up/.test(tail(this.#serial))) throw new Error('it has crashed')
      if (Date.now() > until) throw new Error('it takes too long')
      await sleep(250)
    }
  }

  async #answers (): Promise<boolean> {
    return await this.run(':', 5000).then(() => true, () => false)
  }
}

const kEnvironment = 'export PATH=/usr/lib/xen-4.17/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C'

interface Command {
  readonly command: string[]
  readonly environment: Readonly<Record<string, string>>
}

async function commandFor (options: XenHostOptions, number: number, root: string): Promise<Command> {
  const shared = join(root, 'shared')
  mkdirSync(shared)
  copyFileSync(join(xenFolder, 'dom0/first'), join(shared, 'first'))
  writeFileSync(join(shared, 'settings'), `number=${number}\nnode='${process.execPath}'\nagent='${kAgent}'\n`)
  const { program, args, environment } = await qemu()
  return {
    command: [
      program, ...args, ...machine(options, root), ...await systems(options),
      ...disks(options.diskMiB ?? [256], root), ...networks(options, number),
      ...share('host', '/', ',readonly=on'), ...share('shared', shared, '')
    ],
    environment
  }
}

function commandLine (path: string, args: readonly string[]): string {
  return [process.execPath, new URL(path, import.meta.url).pathname, ...args].map((word) => `'${word}'`).join(' ')
}

// Other processors crash dom0 or corrupt its memory, under this emulation.
function machine ({ dom0MiB = 768, guestsMiB = 384 }: XenHostOptions, root: string): string[] {
  const hypervisorMiB = 128
  return [
    '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-machine', 'q35',
    '-accel', 'tcg,thread=multi,tb-size=192', '-cpu', 'Opteron_G3,+npt,-rdtscp', '-smp', '1',
    '-m', String(dom0MiB + guestsMiB + hypervisorMiB), '-serial', `file:${join(root, 'serial')}`,
    '-qmp', `unix:${join(root, 'qmp')},server=on,wait=off`
  ]
}

async function systems ({ dom0MiB = 768 }: XenHostOptions): Promise<string[]> {
  const { hypervisor, layer } = await xenTools()
  const { vmlinux, initrd, modules } = await xenKernel()
  const xen = [
    'console=com1', 'com1=115200,8n1', `dom0_mem=${dom0MiB}M,max:${dom0MiB}M`, 'dom0_max_vcpus=1',
    'noreboot=1', 'spec-ctrl=no,eager-fpu', 'xpti=no', 'watchdog=0', 'guest_loglvl=info'
  ]
  const linux = [
    'console=hvc0', 'quiet', 'panic=-1', 'mitigations=off', 'clocksource=xen', 'random.trust_cpu=on',
    `dom0.modules=${modules}`
  ]
  const modulesOfBoot = `${vmlinux} ${linux.join(' ')},${initrd}`
  return [
    '-kernel', hypervisor, '-append', xen.join(' '), '-initrd', modulesOfBoot,
    ...share('tools', layer, ',readonly=on')
  ]
}

function disks (sizes: readonly number[], root: string): string[] {
  return sizes.flatMap((mebibytes, index) => {
    const path = diskPath(root, index)
    writeFileSync(path, '')
    truncateSync(path, mebibytes * 2 ** 20)
    return ['-drive', `file=${path},if=virtio,format=raw,cache=unsafe,discard=unmap`]
  })
}

function diskPath (root: string, index: number): string {
  return join(root, `disk${index}`)
}

function networks ({ link }: XenHostOptions, number: number): string[] {
  const commands = `user,id=commands,restrict=on,hostfwd=tcp:127.0.0.1:0-:${kAgentPort}`
  const card = (id: string, mac: string) =>
    ['-device', `virtio-net-pci,netdev=${id},mac=${mac}:0${number},romfile=`]
  const own = ['-netdev', commands, ...card('commands', '52:54:00:00:00')]
  if (link === undefined) return own
  const role = number === 1 ? 'server=on' : 'server=off,reconnect-ms=500'
  const other = `stream,id=link,addr.type=unix,addr.path=${link},${role}`
  return [...own, '-netdev', other, ...card('link', '52:54:00:01:00')]
}

function share (tag: string, path: string, more: string): string[] {
  const options = `local,id=${tag},path=${path},security_model=none,multidevs=remap${more}`
  return ['-fsdev', options, '-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`]
}

/** The port of this system that QEMU has chosen. */
async function forwardedPort (socket: string, hasEnded: () => boolean): Promise<number> {
  for (;;) {
    const qmp = await Qmp.connect(socket).catch(() => null)
    if (qmp === null) {
      if (hasEnded()) throw new Error('QEMU has ended')
      await sleep(50)
      continue
    }
    const table = await qmp.run('human-monitor-command', { 'command-line': 'info usernet' })
    qmp.close()
    const port = /HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)/.exec(String(table))?.[1]
    if (port === undefined) throw new Error(`QEMU forwards no port: ${table}`)
    return Number(port)
  }
}

function tail (path: string): string {
  try {
    return readFileSync(path, 'utf8').slice(-3000)
  } catch {
    return ''
  }
}
