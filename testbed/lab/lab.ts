// Runs a command on another kernel: Debian's, in QEMU under software emulation, with this host's
// file system as its root (read-only, changes stay in memory), so with its programs and this
// repository. It has no network but what the command makes.

import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { clockArguments } from '../guests/guest.js'
import type { Suite } from '../support/packages.js'
import { end, start } from '../support/process.js'
import { qemu } from '../guests/qemu.js'
import { guestFolder, labKernel, type LabKernel } from './lab-kernel.js'

/** More than a program in it has (TAP_TIMEOUT), less than a test file has (scripts/tap-tests.mjs): what hangs is told
 * from where it hangs. */
const timeoutMs = 840_000
const memoryMiB = 1024

/** Boots, runs a line of shell as root, and answers its exit code with all that it printed. */
export async function inLab (
  command: string, suite: Suite = 'bookworm'
): Promise<{ code: number, output: string }> {
  const kernel = await labKernel(suite)
  const folder = mkdtempSync(join(tmpdir(), 'lab-'))
  try {
    copyFileSync(join(guestFolder, 'first'), join(folder, 'first'))
    writeFileSync(join(folder, 'command'), `${command}\n`)
    await boot(kernel, folder)
    const output = read(folder, 'output')
    const code = read(folder, 'code')
    if (code === '') throw new Error(`the lab has ended early: ${output}${read(folder, 'serial')}`)
    return { code: Number(code), output }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function boot (kernel: LabKernel, folder: string): Promise<void> {
  const { program, args, environment } = await qemu()
  const command = [program, ...args, ...machineArguments(kernel, folder)]
  const child = start(command, { environment, stdio: ['ignore', 'inherit', 'inherit'] })
  const timer = setTimeout(() => void end(child), timeoutMs)
  await once(child, 'exit')
  clearTimeout(timer)
}

function machineArguments ({ kernel, initrd, modules }: LabKernel, folder: string): string[] {
  const line = [
    ...['console=ttyS0', 'quiet', 'panic=-1', 'mitigations=off', 'nokaslr'],
    ...['random.trust_cpu=on', ...clockArguments(), `lab.modules=${modules}`]
  ]
  return [
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ...['-machine', 'pc,usb=off', '-accel', 'tcg,thread=multi', '-cpu', 'max,la57=off'],
    ...['-smp', '1', '-m', String(memoryMiB), '-serial', `file:${join(folder, 'serial')}`],
    ...['-kernel', kernel, '-initrd', initrd, '-append', line.join(' ')],
    ...share('host', '/', ',readonly=on'),
    ...share('lab', folder, '')
  ]
}

function share (tag: string, path: string, more: string): string[] {
  const options = `local,id=${tag},path=${path},security_model=none,multidevs=remap${more}`
  return ['-fsdev', options, '-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`]
}

function read (folder: string, name: string): string {
  try {
    return readFileSync(join(folder, name), 'utf8')
  } catch {
    return ''
  }
}
