// A tap in the kernel as the benchmark sees it. Another kind is another object here.

import { existsSync } from 'node:fs'
import { openTap, type Tap } from '../../lib/index.js'
import { atEnd } from '../../testbed/support/cleanup.js'
import { run, runSync } from '../../testbed/support/command.js'

export interface TapContender {
  readonly name: string
  /** A block device over a file, of a kind that this tap can be attached to; gone at the end. */
  makeDevice(file: string): Promise<string>
  /** Attaches it to the device, which is being written. */
  attach(device: string, options?: { cgroup?: string }): Promise<Tap>
}

/** Past the page cache of nothing: the file is in memory. */
export async function loopDevice (file: string): Promise<string> {
  const device = (await run('losetup', '--find', '--show', file)).trim()
  atEnd(() => runSync('losetup', '--detach', device))
  return device
}

export const bpf: TapContender = {
  name: 'bpf',
  makeDevice: loopDevice,
  attach: (device, options) => openTap({ source: device, tap: 'bpf', ...options })
}

let made = 0

/** A linear device of device-mapper over a loop device. */
async function linearDevice (file: string): Promise<string> {
  const below = await loopDevice(file)
  const sectors = (await run('blockdev', '--getsz', below)).trim()
  const name = `blockferry-bench-${process.pid}-${++made}`
  const table = `0 ${sectors} linear ${below} 0`
  await run('dmsetup', '--noudevsync', 'create', name, '--table', table)
  await run('dmsetup', 'mknodes', name)
  atEnd(() => runSync('dmsetup', '--noudevsync', 'remove', name))
  return `/dev/mapper/${name}`
}

export const dm: TapContender = {
  name: 'dm',
  makeDevice: linearDevice,
  attach: (device, options) => openTap({ source: device, tap: 'dm', ...options })
}

/** Those that this kernel can have. */
export function tapsHere (): TapContender[] {
  return existsSync('/dev/mapper/control') ? [bpf, dm] : [bpf]
}
