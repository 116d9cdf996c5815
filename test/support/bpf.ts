// Real block devices for the tests of taps in the kernel, and who writes to them.
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

import type { Test } from 'tap'

import { capabilities } from '../../lib/index.js'
import { kNeedsRoot, loopDevice } from './root.js'

const run = promisify(execFile)

export const kBlock = 4096

/** For a test's `skip`: false, or why no bpf tap can be had. */
export const kNeedsBpf: string | false = kNeedsRoot !== false
  ? 'eBPF needs root'
  : !capabilities().bpf
      ? 'the addon was built without clang or libbpf'
      : existsSync('/sys/kernel/btf/vmlinux') ? false : 'the kernel has no BTF'

/** A loop device of this size, all zeroes. */
export function emptyDevice (t: Test, dir: string, mebibytes: number): string {
  const file = join(dir, 'device.img')
  writeFileSync(file, '')
  truncateSync(file, mebibytes * 2 ** 20)
  return loopDevice(t, file)
}

/** What the device holds, past the page cache of whoever writes to it. */
export function contentOf (device: string): Buffer {
  execFileSync('blockdev', ['--flushbufs', device])
  return readFileSync(device)
}

/** The numbers of the blocks that differ. */
export function differing (before: Buffer, after: Buffer): number[] {
  const blocks = Array.from({ length: Math.ceil(after.length / kBlock) }, (_value, block) => block)
  return blocks.filter((block) => {
    const [from, to] = [block * kBlock, (block + 1) * kBlock]
    return !before.subarray(from, to).equals(after.subarray(from, to))
  })
}

/** Random writes by fio until it has written this much, or for this long. */
export async function fio (device: string, seed: number, ...args: string[]): Promise<void> {
  await run('fio', [
    '--name=writer', `--filename=${device}`, '--rw=randwrite', '--bs=4k', `--randseed=${seed}`,
    '--ioengine=libaio', '--iodepth=32', '--refill_buffers', '--minimal', ...args
  ])
}

/** Overwrites all of it at random until it is stopped. `enter`: a command of the shell to run before. */
export function outrunner (t: Test, device: string, enter = ':') {
  const command = `${enter}; exec fio --name=writer --thread --filename=${device} --rw=randwrite --bs=64k ` +
    '--direct=1 --ioengine=libaio --iodepth=4 --refill_buffers --time_based --runtime=600 --minimal'
  const child = spawn('sh', ['-c', command], { stdio: 'ignore' })
  const ended = once(child, 'exit')
  const pause = async () => {
    child.kill('SIGKILL')
    await ended
  }
  t.teardown(pause)
  return { pause }
}

/** An ext4 on the device, mounted. */
export function mountedExt4 (t: Test, dir: string, device: string): string {
  const point = join(dir, 'mount')
  mkdirSync(point, { recursive: true })
  execFileSync('mkfs.ext4', ['-q', '-F', device])
  execFileSync('mount', [device, point])
  t.teardown(() => {
    thaw(point)
    execFileSync('umount', [point])
  })
  return point
}

/** What was written to the file system is on the device, and nothing is written until thaw(). */
export function freeze (point: string): void {
  execFileSync('fsfreeze', ['--freeze', point])
}

/** Of one that is not frozen, too. */
export function thaw (point: string): void {
  spawnSync('fsfreeze', ['--unfreeze', point])
}

/** A seed to be printed; BLOCKFERRY_SEED repeats one. */
export function seedOf (t: Test): number {
  const seed = Number(process.env.BLOCKFERRY_SEED ?? Date.now() % 2 ** 31)
  t.comment(`seed ${seed}`)
  return seed
}

export const kNeedsZram: string | false = kNeedsBpf !== false
  ? kNeedsBpf
  : existsSync('/sys/class/zram-control') ? false : 'the kernel has no zram'

/** A device that takes bios, not requests; all zeroes. */
export function zramDevice (t: Test, mebibytes: number): string {
  const number = readFileSync('/sys/class/zram-control/hot_add', 'utf8').trim()
  writeFileSync(`/sys/block/zram${number}/disksize`, `${mebibytes}M`)
  t.teardown(() => {
    writeFileSync(`/sys/block/zram${number}/reset`, '1')
    writeFileSync('/sys/class/zram-control/hot_remove', number)
  })
  return `/dev/zram${number}`
}
