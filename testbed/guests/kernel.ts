// The kernel that the guest boots: Debian's for clouds, and an initial memory disk with the
// modules it needs to find its disk and its network.

import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, readdirSync } from 'node:fs'
import { rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { run } from '../support/command.js'
import { cached, keyed } from '../support/cache.js'
import { testbedFolder } from '../support/compile.js'
import { type Suite, withPackages } from '../support/packages.js'

const modules = [
  'drivers/virtio',
  'drivers/block/virtio_blk.ko',
  'drivers/net/virtio_net.ko',
  'drivers/net/net_failover.ko',
  'net/core/failover.ko'
]

export interface GuestKernel {
  readonly kernel: string
  readonly initrd: string
}

/** Downloads and unpacks it (25 MB) unless that was done. */
export async function guestKernel (): Promise<GuestKernel> {
  const init = readFileSync(join(testbedFolder, 'guests/inside/init'))
  const folder = await cached(keyed('guest-kernel', init, modules.join(' ')), build)
  return { kernel: join(folder, 'vmlinuz'), initrd: join(folder, 'initrd') }
}

/** A folder with a busybox that needs no libraries, at bin/busybox. */
export function busybox (): Promise<string> {
  return cached('busybox', (folder) =>
    withPackages(folder, (packages) => packages.unpack('bookworm', ['busybox-static'], folder))
  )
}

/** Puts the kernel that a package stands for at vmlinuz in `folder`, and everything of it into
 * `unpacked`. Answers its version. */
export async function unpackKernel (
  suite: Suite, name: string, folder: string, unpacked: string
): Promise<string> {
  await withPackages(folder, async (packages) =>
    packages.unpack(suite, [await packages.dependency(suite, name)], unpacked)
  )
  const [version] = readdirSync(join(unpacked, 'lib/modules')) as [string]
  copyFileSync(join(unpacked, 'boot', `vmlinuz-${version}`), join(folder, 'vmlinuz'))
  return version
}

async function build (folder: string): Promise<void> {
  const unpacked = join(folder, 'unpacked')
  const version = await unpackKernel('bookworm', 'linux-image-cloud-amd64', folder, unpacked)
  const tree = join(folder, 'tree')
  const path = await makeTree(tree, join(unpacked, 'lib/modules', version), version)
  await pack(path, tree, join(folder, 'initrd'))
  rmSync(unpacked, { recursive: true })
  rmSync(tree, { recursive: true })
}

/** Answers the path of the busybox in it. */
async function makeTree (tree: string, from: string, version: string): Promise<string> {
  const to = join(tree, 'lib/modules', version)
  for (const name of ['bin', 'dev', 'proc', 'sys', 'root']) {
    mkdirSync(join(tree, name), { recursive: true })
  }
  for (const name of modules.map((name) => join('kernel', name))) {
    mkdirSync(join(to, dirname(name)), { recursive: true })
    cpSync(join(from, name), join(to, name), { recursive: true })
  }
  for (const name of ['modules.order', 'modules.builtin']) {
    copyFileSync(join(from, name), join(to, name))
  }
  const program = join(tree, 'bin/busybox')
  copyFileSync(join(await busybox(), 'bin/busybox'), program)
  copyFileSync(join(testbedFolder, 'guests/inside/init'), join(tree, 'init'))
  chmodSync(join(tree, 'init'), 0o755)
  await run(program, 'depmod', '-b', tree, version)
  return program
}

/** Makes an initial memory disk of a folder, with this busybox. */
export async function pack (program: string, tree: string, initrd: string): Promise<void> {
  const list = join(dirname(initrd), 'list')
  writeFileSync(list, await run('find', tree, '-mindepth', '1', '-printf', '%P\n'))
  const command = 'cd "$1" && "$2" cpio -o -H newc < "$3" | gzip -1 > "$4"'
  await run('bash', '-o', 'pipefail', '-c', command, 'bash', tree, program, list, initrd)
  rmSync(list)
}
