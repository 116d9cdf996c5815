// Parts of a Debian kernel's modules: what a system that is booted finds in its /lib/modules, and
// an initial memory disk with the few modules that come before it.

import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { run } from '../support/command.js'
import { busybox } from '../guests/kernel.js'

/** Copies these folders and files of a kernel's modules, where they are, and lists them anew. `to`
 * ends in lib/modules and the version, as `from` does. */
export async function takeModules (from: string, to: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const path = join(from, 'kernel', name)
    if (existsSync(path)) cpSync(path, join(to, 'kernel', name), { recursive: true })
  }
  takeLists(from, to)
  await listModules(to)
}

export interface TreeParts {
  /** A file: the first program. */
  readonly init: string
  /** Names of modules; what they need comes with them. */
  readonly modules: readonly string[]
}

/** Makes the folder of an initial memory disk: busybox, `init`, modules of those in `from`. */
export async function makeTree (tree: string, from: string, parts: TreeParts): Promise<void> {
  for (const name of ['bin', 'dev', 'proc', 'sys', 'root']) {
    mkdirSync(join(tree, name), { recursive: true })
  }
  copyFileSync(join(await busybox(), 'bin/busybox'), join(tree, 'bin/busybox'))
  copyFileSync(parts.init, join(tree, 'init'))
  chmodSync(join(tree, 'init'), 0o755)
  const to = from.replace(/^.*(?=\/lib\/modules\/)/, tree)
  for (const path of neededIn(from, parts.modules)) {
    mkdirSync(dirname(join(to, path)), { recursive: true })
    copyFileSync(join(from, path), join(to, path))
  }
  takeLists(from, to)
  await listModules(to)
}

function takeLists (from: string, to: string): void {
  mkdirSync(to, { recursive: true })
  for (const name of ['modules.order', 'modules.builtin']) {
    copyFileSync(join(from, name), join(to, name))
  }
}

async function listModules (folder: string): Promise<void> {
  const [, root, version] = /^(.*)\/lib\/modules\/([^/]+)$/.exec(folder) as unknown as string[]
  await run(join(await busybox(), 'bin/busybox'), 'depmod', '-b', root as string, version as string)
}

/** Paths in the folder of modules; modules.dep has all dependencies of each in its line. */
function neededIn (folder: string, modules: readonly string[]): Set<string> {
  const lines = readFileSync(join(folder, 'modules.dep'), 'utf8').split('\n')
  const isWanted = (line: string) => (
    modules.some((name) => line.split(':')[0]!.includes(`/${name}.ko`)))
  const wanted = lines.filter(isWanted)
  const paths = wanted.flatMap((line) => line.replace(':', '').split(' '))
  return new Set(paths.filter((path) => path !== ''))
}
