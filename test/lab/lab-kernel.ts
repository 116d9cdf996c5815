// The lab's kernel: Debian's ordinary one, with the modules that tests of networks need. The one
// that guests boot can't mount the host's file system.

import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync } from 'node:fs'
import { readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { run } from '../../bench/support/command.js'
import { repository } from '../../bench/support/folders.js'
import { cached, keyed } from '../hosts/cache.js'
import { busybox, pack, unpackKernel } from '../hosts/guest-kernel.js'

/** The sources of what runs inside. */
export const guestFolder = join(repository, 'test/lab/guest')

const folders = [
  'arch', 'crypto', 'drivers/net', 'drivers/virtio', 'fs/9p', 'fs/fscache', 'fs/netfs',
  'fs/overlayfs', 'lib', 'net',
]
/** What the initial memory disk needs, dependencies included. */
const boot = ['virtio_pci', '9pnet_virtio', '9p', 'overlay']

export interface LabKernel {
  readonly kernel: string
  readonly initrd: string
  /** The host's folder for /lib/modules. */
  readonly modules: string
}

/** Downloads and unpacks it (70 MB, once). */
export async function labKernel(): Promise<LabKernel> {
  const init = readFileSync(join(guestFolder, 'init'))
  const folder = await cached(keyed('lab-kernel', init, [...folders, ...boot].join(' ')), build)
  const [kernel, initrd, modules] = ['vmlinuz', 'initrd', 'lib/modules']
    .map((name) => join(folder, name)) as [string, string, string]
  return { kernel, initrd, modules }
}

async function build(folder: string): Promise<void> {
  const unpacked = join(folder, 'unpacked')
  const version = await unpackKernel('linux-image-amd64', folder, unpacked)
  const [from, to] = [unpacked, folder].map((root) => join(root, 'lib/modules', version))
  takeModules(from as string, to as string)
  const program = join(await busybox(), 'bin/busybox')
  await run(program, 'depmod', '-b', folder, version)
  const tree = join(folder, 'tree')
  makeTree(tree, to as string, program)
  await run(program, 'depmod', '-b', tree, version)
  await pack(program, tree, join(folder, 'initrd'))
  for (const path of [unpacked, tree]) rmSync(path, { recursive: true })
}

function takeModules(from: string, to: string): void {
  for (const name of folders) {
    const path = join(from, 'kernel', name)
    if (existsSync(path)) cpSync(path, join(to, 'kernel', name), { recursive: true })
  }
  for (const name of ['modules.order', 'modules.builtin']) {
    copyFileSync(join(from, name), join(to, name))
  }
}

/** The initial memory disk: busybox, init, and the modules of `boot` with all that they need. */
function makeTree(tree: string, modules: string, program: string): void {
  for (const name of ['bin', 'dev', 'proc', 'sys', 'root']) {
    mkdirSync(join(tree, name), { recursive: true })
  }
  const to = modules.replace(dirname(tree), tree)
  for (const path of ['modules.order', 'modules.builtin', ...neededIn(modules)]) {
    mkdirSync(dirname(join(to, path)), { recursive: true })
    copyFileSync(join(modules, path), join(to, path))
  }
  copyFileSync(program, join(tree, 'bin/busybox'))
  copyFileSync(join(guestFolder, 'init'), join(tree, 'init'))
  chmodSync(join(tree, 'init'), 0o755)
}

/** Paths in the folder of modules; modules.dep has all dependencies of each in its line. */
function neededIn(modules: string): Set<string> {
  const lines = readFileSync(join(modules, 'modules.dep'), 'utf8').split('\n')
  const isWanted = (line: string) => (
    boot.some((name) => line.split(':')[0]!.endsWith(`/${name}.ko`)))
  const wanted = lines.filter(isWanted)
  const paths = wanted.flatMap((line) => line.replace(':', '').split(' '))
  return new Set(paths.filter((path) => path !== ''))
}
