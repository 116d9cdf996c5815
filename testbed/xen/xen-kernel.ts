// The kernel of Xen's hosts and of their guests: Debian's ordinary one, of which the hypervisor
// needs the ELF file that Debian has packed into its image.

import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { repository } from '../support/folders.js'
import { cached, keyed } from '../support/cache.js'
import { compile } from '../support/compile.js'
import { busybox, pack, unpackKernel } from '../guests/kernel.js'
import { makeTree, takeModules } from '../lab/kernel-tree.js'

/** The sources of what runs inside. */
export const xenFolder = join(repository, 'testbed/xen')

const kModules = [
  'arch', 'block', 'crypto', 'drivers/block', 'drivers/md', 'drivers/net', 'drivers/virtio',
  'drivers/xen', 'fs/9p', 'fs/ext4', 'fs/fscache', 'fs/jbd2', 'fs/mbcache.ko', 'fs/netfs',
  'fs/overlayfs', 'lib', 'mm', 'net'
] as const
const kBoot = ['virtio_pci', '9pnet_virtio', '9p', 'overlay'] as const

export interface XenKernel {
  readonly vmlinux: string
  /** Of dom0. */
  readonly initrd: string
  /** This system's folder for dom0's /lib/modules. */
  readonly modules: string
}

/** Downloads and unpacks it (70 MB, once). */
export async function xenKernel (): Promise<XenKernel> {
  const init = join(xenFolder, 'dom0/init')
  const kernel = await unpacked()
  const modules = join(kernel, 'lib/modules')
  const initrd = await initialDisk('xen-dom0-initrd', { init, modules: kBoot })
  return { vmlinux: join(kernel, 'vmlinux'), initrd, modules }
}

export interface DiskParts {
  readonly init: string
  readonly modules: readonly string[]
  /** Programs compiled from these sources, below testbed/xen/, by their names in /bin. */
  readonly programs?: Readonly<Record<string, string>>
}

/** An initial memory disk with modules of this kernel. */
export async function initialDisk (name: string, parts: DiskParts): Promise<string> {
  const { init, modules, programs = {} } = parts
  const kernel = await unpacked()
  const compiled = await Promise.all(Object.entries(programs).map(async ([name, source]) =>
    ({ name, path: await compile([join('xen', source)], '-static') })))
  const inputs = [init, ...compiled.map(({ path }) => path)].map((path) => readFileSync(path))
  const folder = await cached(keyed(name, kernel, modules.join(' '), ...inputs), async (folder) => {
    const tree = join(folder, 'tree')
    await makeTree(tree, versionFolder(kernel), { init, modules })
    for (const { name, path } of compiled) execFileSync('cp', [path, join(tree, 'bin', name)])
    await pack(join(await busybox(), 'bin/busybox'), tree, join(folder, 'initrd'))
    rmSync(tree, { recursive: true })
  })
  return join(folder, 'initrd')
}

function unpacked (): Promise<string> {
  return cached(keyed('xen-kernel', kModules.join(' ')), async (folder) => {
    const whole = join(folder, 'unpacked')
    const version = await unpackKernel('bookworm', 'linux-image-amd64', folder, whole)
    const [from, to] = [whole, folder].map((root) => join(root, 'lib/modules', version)) as [string, string]
    await takeModules(from, to, kModules)
    writeFileSync(join(folder, 'vmlinux'), packedKernel(readFileSync(join(folder, 'vmlinuz'))))
    for (const name of ['unpacked', 'vmlinuz']) rmSync(join(folder, name), { recursive: true })
  })
}

function versionFolder (kernel: string): string {
  const [version] = execFileSync('ls', [join(kernel, 'lib/modules')], { encoding: 'utf8' }).split('\n')
  return join(kernel, 'lib/modules', version!)
}

/** The boot protocol's header says where in the image it is; its last four bytes are its size. */
function packedKernel (image: Buffer): Buffer {
  const setupBytes = (image.readUInt8(0x1f1) + 1) * 512
  const from = setupBytes + image.readUInt32LE(0x248)
  const input = image.subarray(from, from + image.readUInt32LE(0x24c) - 4)
  return execFileSync('xz', ['-dc'], { input, maxBuffer: 1 << 30 })
}
