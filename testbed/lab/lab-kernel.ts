// The lab's kernels: Debian's ordinary ones, with the modules that tests of networks and disks need.
// The one that guests boot can't mount the host's file system.

import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from '../support/folders.js'
import { cached, keyed } from '../support/cache.js'
import { busybox, pack, unpackKernel } from '../guests/kernel.js'
import type { Suite } from '../support/packages.js'
import { makeTree, takeModules } from './kernel-tree.js'

/** The sources of what runs inside. */
export const guestFolder = join(repository, 'testbed/lab/guest')

const folders = [
  'arch', 'block', 'crypto', 'drivers/block', 'drivers/md', 'drivers/net', 'drivers/virtio',
  'fs/9p', 'fs/ext4', 'fs/fscache', 'fs/jbd2', 'fs/mbcache.ko', 'fs/mbcache.ko.xz', 'fs/netfs',
  'fs/overlayfs', 'lib', 'mm', 'net'
]
/** What the initial memory disk needs, dependencies included. */
const boot = ['virtio_pci', '9pnet_virtio', '9p', 'overlay']

export interface LabKernel {
  readonly kernel: string
  readonly initrd: string
  /** The host's folder for /lib/modules. */
  readonly modules: string
}

/** Downloads and unpacks it (70 to 100 MB, once). */
export async function labKernel (suite: Suite = 'bookworm'): Promise<LabKernel> {
  const init = readFileSync(join(guestFolder, 'init'))
  const key = keyed(`lab-kernel-${suite}`, init, [...folders, ...boot].join(' '))
  const folder = await cached(key, (folder) => build(suite, folder))
  const [kernel, initrd, modules] = ['vmlinuz', 'initrd', 'lib/modules']
    .map((name) => join(folder, name)) as [string, string, string]
  return { kernel, initrd, modules }
}

async function build (suite: Suite, folder: string): Promise<void> {
  const unpacked = join(folder, 'unpacked')
  const version = await unpackKernel(suite, 'linux-image-amd64', folder, unpacked)
  const [from, to] = [unpacked, folder].map((root) => join(root, 'lib/modules', version))
  await takeModules(from as string, to as string, folders)
  const tree = join(folder, 'tree')
  await makeTree(tree, to as string, { init: join(guestFolder, 'init'), modules: boot })
  await pack(join(await busybox(), 'bin/busybox'), tree, join(folder, 'initrd'))
  for (const path of [unpacked, tree]) rmSync(path, { recursive: true })
}
