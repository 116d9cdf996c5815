// Disk images like a server's: an ext4 of this machine's own files, the rest holes.

import { type Dirent, accessSync, constants, existsSync, lstatSync, mkdtempSync } from 'node:fs'
import { readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../testbed/support/command.js'
import { cacheFolder } from '../../testbed/support/folders.js'

const roots = ['/usr', '/opt']
const block = 4096

/** Sizes in MiB: of the whole image, and of the files in it. */
export interface ImageSize {
  readonly sizeMiB: number
  readonly filesMiB: number
}

/**
 * Puts an image at `path`, a file that does not exist yet. It is made once and kept in the cache.
 * Answers how many MiB of it are data; fewer than asked for where the machine has fewer files.
 */
export async function placeImage (path: string, size: ImageSize): Promise<number> {
  const cached = join(cacheFolder(), `image-${size.sizeMiB}-${size.filesMiB}.ext4`)
  if (!existsSync(cached)) await makeImage(cached, size)
  await run('cp', '--sparse=always', cached, path)
  return Math.round((statSync(path).blocks * 512) / 2 ** 20)
}

async function makeImage (path: string, { sizeMiB, filesMiB }: ImageSize): Promise<void> {
  const staging = mkdtempSync(join(cacheFolder(), 'staging-'))
  try {
    const list = join(staging, 'list')
    const tree = join(staging, 'tree')
    const image = join(staging, 'image')
    writeFileSync(list, pickFiles(filesMiB * 2 ** 20).join('\0'))
    await run('mkdir', tree)
    const copy = 'tar -C / -c --null -T "$1" | tar -C "$2" -x'
    await run('bash', '-o', 'pipefail', '-c', copy, 'bash', list, tree)
    await run('mkfs.ext4', '-q', '-F', '-b', String(block), '-d', tree, image, `${sizeMiB}M`)
    renameSync(image, path)
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

// Files in the order of their folders, until they would all but fill `limit` bytes.
function pickFiles (limit: number): string[] {
  const picked: string[] = []
  let left = limit
  for (const path of roots.flatMap((root) => [...filesUnder(root)])) {
    const size = Math.ceil(lstatSync(path).size / block) * block
    if (size > left || !isReadable(path)) continue
    left -= size
    picked.push(path.slice(1))
    if (left < limit / 100) break
  }
  return picked
}

function isReadable (path: string): boolean {
  try {
    accessSync(path, constants.R_OK)
    return true
  } catch {
    return false
  }
}

function* filesUnder (folder: string): Generator<string> {
  for (const entry of listFolder(folder)) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* filesUnder(path)
    else if (entry.isFile()) yield path
  }
}

function listFolder (folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))
  } catch {
    return [] // not ours to read
  }
}
