// What only root can make: small file systems, block devices.
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** For a test's `skip`: false, or why not. */
export const kNeedsRoot = process.getuid?.() === 0 ? false : 'mounting and loop devices need root'

interface Teardown { teardown: (body: () => unknown) => void }

export interface SmallDisk {
  path: string
  /** Makes room. */
  grow: (mebibytes: number) => void
}

/** A tmpfs that is soon full. */
export function smallDisk (t: Teardown, path: string, mebibytes: number): SmallDisk {
  mkdirSync(path)
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', path])
  t.teardown(() => execFileSync('umount', ['-l', path]))
  const grow = (size: number) => {
    execFileSync('mount', ['-o', `remount,size=${size}m`, path])
  }
  return { path, grow }
}

/** Whether the kernel counts what the device does. It has to be turned on again: who gets the same
 * loop device next would find it off. */
export function keepStatistics (device: string, on: boolean): void {
  writeFileSync(`/sys/block/${device.slice('/dev/'.length)}/queue/iostats`, on ? '1' : '0')
}

/** Runs a line of shell while no other test looks for a free loop device. */
function withLoops (script: string, ...args: string[]): string {
  const lock = join(tmpdir(), 'blockferry-test-loops')
  return execFileSync('flock', [lock, 'sh', '-ec', script, 'sh', ...args], { encoding: 'utf8' }).trim()
}

/** Another file under the same number. */
export function replaceLoopFile (device: string, file: string): void {
  withLoops('losetup --detach "$1"; losetup "$1" "$2"', device, file)
}

/** A block device over a file. */
export function loopDevice (t: Teardown, file: string, sectorSize = 512): string {
  const device = withLoops('losetup --find --show --sector-size "$1" "$2"', String(sectorSize), file)
  keepStatistics(device, true) // a test that was killed may have left them off
  t.teardown(() => execFileSync('losetup', ['--detach', device]))
  return device
}
