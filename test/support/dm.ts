// Devices of device-mapper for tests, as root on a kernel that has it: the lab's.
import { execFileSync, spawnSync } from 'node:child_process'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Test } from 'tap'

import { capabilities } from '../../lib/index.js'
import { temporary } from '../../testbed/support/images.js'
import { loopDevice } from './root.js'

const kSector = 512
export const kSectors = 32 * 2 ** 20 / kSector
export const kKinds = ['linear', 'several segments', 'striped', 'crypt', 'thin'] as const
export type Kind = typeof kKinds[number]

/** For a test's `skip`: false, or why the lab can't test dm taps. */
export const kNeedsDm: string | false = !capabilities().dm
  ? 'the addon was built without libdevmapper'
  : spawnSync('which', ['dmsetup']).status === 0 ? false : 'needs dmsetup'

export const dmsetup = (...args: string[]): string =>
  execFileSync('dmsetup', ['--noudevsync', ...args], { encoding: 'utf8' }).trim()

/** A loop device of so many MiB, over memory. */
export function store (t: Test, mebibytes: number): string {
  const file = join(temporary(t), 'store')
  writeFileSync(file, '')
  truncateSync(file, mebibytes * 2 ** 20)
  return loopDevice(t, file)
}

/** Makes a device, that goes with the test in whatever state it is then. */
export function mapped (t: Test, name: string, table: string): string {
  dmsetup('create', name, '--table', table)
  dmsetup('mknodes')
  t.teardown(() => { spawnSync('dmsetup', ['--noudevsync', 'remove', '--force', name]) })
  return `/dev/mapper/${name}`
}

let made = 0

/** One of 32 MiB. */
export function deviceOf (t: Test, kind: Kind): string {
  const name = `vol${++made}`
  const below = store(t, 40)
  const half = kSectors / 2
  const tables: Record<Kind, () => string> = {
    linear: () => `0 ${kSectors} linear ${below} 2048`,
    'several segments': () =>
      `0 ${half} linear ${below} ${half + 64}\n${half} ${half} linear ${store(t, 20)} 8`,
    striped: () => `0 ${kSectors} striped 2 128 ${below} 0 ${store(t, 20)} 0`,
    crypt: () => `0 ${kSectors} crypt aes-xts-plain64 ${'0123456789abcdef'.repeat(8)} 0 ${below} 0`,
    thin: () => {
      const metadata = store(t, 8)
      const pool = mapped(t, `${name}-pool`, `0 ${40 * 2048} thin-pool ${metadata} ${below} 128 0`)
      dmsetup('message', `${name}-pool`, '0', 'create_thin 0')
      return `0 ${kSectors} thin ${pool} 0`
    }
  }
  return mapped(t, name, tables[kind]())
}

export const nameOf = (device: string): string => device.slice('/dev/mapper/'.length)

/** The device's own number in /sys/block. */
export const kernelNameOf = (device: string): string =>
  execFileSync('readlink', ['-f', `/sys/dev/block/${dmsetup('info', '-c', '--noheadings', '-o', 'major,minor', '--separator', ':', nameOf(device))}`],
    { encoding: 'utf8' }).trim().split('/').at(-1)!

/** All that a tap could leave behind on this host. */
export function traces (device: string): string {
  const lines = (...command: string[]) =>
    spawnSync(command[0]!, command.slice(1), { encoding: 'utf8' }).stdout.trim()
  return [
    dmsetup('table', '--showkeys'),
    dmsetup('info', '-c', '--noheadings', '-o', 'name,uuid,attr'),
    lines('ls', '/dev/mapper'),
    lines('losetup', '-a'),
    lines('cat', `/sys/block/${kernelNameOf(device)}/queue/discard_max_bytes`),
    lines('pgrep', '-l', 'blockferry-watc')
  ].join('\n')
}

/** Whether a block can be written at once, and read. */
export function works (device: string): boolean {
  const block = ['if=/dev/urandom', `of=${device}`, 'bs=4k', 'count=1', 'seek=7', 'oflag=direct', 'status=none']
  const back = [`if=${device}`, 'of=/dev/null', 'bs=4k', 'count=1', 'iflag=direct', 'status=none']
  const done = (args: string[]) =>
    spawnSync('timeout', ['-s', 'KILL', '15', 'dd', ...args], { stdio: 'ignore', timeout: 20_000 }).status === 0
  return done(block) && done(back)
}
