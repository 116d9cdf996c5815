// The guest's disk: an ext4 with busybox, nginx from Debian's packages, content, and the programs
// of ours in testbed/guests/inside/.

import { chmodSync, copyFileSync, mkdirSync, readFileSync, readdirSync } from 'node:fs'
import { rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../support/command.js'
import { cached, keyed } from '../support/cache.js'
import { compile, testbedFolder } from '../support/compile.js'
import { writeContent } from './content.js'
import { busybox } from './kernel.js'
import { withPackages } from '../support/packages.js'

const packageNames = ['nginx', 'libc6', 'libcrypt1', 'libpcre2-8-0', 'libssl3', 'zlib1g']
const emptyFolders = [
  ...['bin', 'dev', 'etc/nginx', 'proc', 'root', 'run', 'sbin', 'srv/www', 'sys', 'tmp'],
  ...['usr/sbin', 'var/lib/nginx', 'var/log/nginx']
]
// What the packages hold and no web server reads.
const leftOut = ['usr/share', 'usr/lib/x86_64-linux-gnu/gconv', 'usr/lib/tmpfiles.d', 'lib/systemd']

// A change in them makes another image.
const makers = ['guests/content.ts', 'guests/image.ts']

/** Where the guest's log of writes is, on its disk. */
export const logPath = '/var/log/writes'

export interface ImageOptions {
  /** Of the whole disk. Default: 1 GiB. A multiple of 1 MiB. */
  readonly diskBytes?: number
  /** Of the files that the web server has. Default: 64 MiB. */
  readonly contentBytes?: number
}

export const defaultContentBytes = 64 * 2 ** 20

/** Puts the image of a guest that never ran at `path`, a sparse file. It is made once. */
export async function placeGuestImage (path: string, options: ImageOptions = {}): Promise<void> {
  await run('cp', '--sparse=always', await guestImage(options), path)
}

/** The image in the cache, which must not be changed. */
export async function guestImage (options: ImageOptions = {}): Promise<string> {
  const { diskBytes = 2 ** 30, contentBytes = defaultContentBytes } = options
  const sources = readdirSync(join(testbedFolder, 'guests/inside')).sort()
  const texts = [...sources.map((name) => join('guests/inside', name)), ...makers].map((name) =>
    readFileSync(join(testbedFolder, name))
  )
  const name = keyed('guest-image', `${diskBytes} ${contentBytes}`, ...texts)
  const folder = await cached(name, (folder) => build(folder, diskBytes, contentBytes))
  return join(folder, 'disk.img')
}

async function build (folder: string, diskBytes: number, contentBytes: number): Promise<void> {
  const tree = join(folder, 'tree')
  await run('cp', '-a', await system(), tree)
  await addOurs(tree)
  writeContent(join(tree, 'srv/www'), contentBytes)
  const image = join(folder, 'disk.img')
  // All is initialized here: a guest that does nothing shall not write.
  const extended = 'root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0'
  const options = ['-q', '-F', '-b', '4096', '-E', extended]
  await run('mkfs.ext4', ...options, '-d', tree, image, `${diskBytes / 2 ** 20}M`)
  rmSync(tree, { recursive: true })
}

// What comes from packages; independent of our own files, which change more often.
function system (): Promise<string> {
  const name = keyed('guest-system', ...packageNames, ...leftOut, ...emptyFolders)
  return cached(name, async (tree) => {
    await withPackages(tree, (packages) => packages.unpack('bookworm', packageNames, tree))
    for (const name of leftOut) rmSync(join(tree, name), { recursive: true, force: true })
    for (const name of emptyFolders) mkdirSync(join(tree, name), { recursive: true })
    const program = join(tree, 'bin/busybox')
    copyFileSync(join(await busybox(), 'bin/busybox'), program)
    for (const name of (await run(program, '--list')).trim().split('\n')) link(tree, name)
    symlinkSync('/bin/busybox', join(tree, 'sbin/init'))
    writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n')
    writeFileSync(join(tree, 'etc/group'), 'root:x:0:\n')
  })
}

function link (tree: string, name: string): void {
  if (name !== 'busybox') symlinkSync('busybox', join(tree, 'bin', name))
}

async function addOurs (tree: string): Promise<void> {
  const take = (name: string, to: string) =>
    copyFileSync(join(testbedFolder, 'guests/inside', name), join(tree, to))
  take('nginx.conf', 'etc/nginx/nginx.conf')
  take('inittab', 'etc/inittab')
  take('rc', 'etc/rc')
  chmodSync(join(tree, 'etc/rc'), 0o755)
  const inGuest = (names: string[]) => names.map((name) => `guests/inside/${name}`)
  const service = inGuest(['service.c', 'log.c', 'stress.c', 'memory.c', 'random.c', 'service.h'])
  copyFileSync(await compile(service, '-static'), join(tree, 'usr/sbin/service'))
  for (const name of ['echo-server', 'event-server']) {
    const program = await compile(inGuest([`${name}.c`, 'serve.c', 'serve.h']), '-static')
    copyFileSync(program, join(tree, 'usr/sbin', name))
  }
}
