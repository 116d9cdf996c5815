// Makes an ext4 image with real files, and with one large file whose place on the disk is known:
// who writes only there keeps the file system clean without mounting it (that would need root).
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, ftruncateSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { basename } from 'node:path'

export const kBlock = 4096
const kImageBytes = 512 * 2 ** 20
const kDatabaseMiB = 64

export interface Image {
  path: string
  bytes: number
  files: number
  /** Where the database file's blocks are, as block numbers of the disk. */
  blocks: number[]
}

/** e2fsprogs' directory is not in every user's PATH. */
const kEnvironment = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` }

export function runTool (command: string, args: string[]): string {
  return execFileSync(command, args, {
    env: kEnvironment, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe']
  })
}

/** Fills a new image with the tree and the database file. */
export function makeImage (path: string, tree: string): Image {
  const file = openSync(path, 'w')
  ftruncateSync(file, kImageBytes)
  closeSync(file)
  runTool('mkfs.ext4', ['-q', '-F', '-b', String(kBlock), '-d', tree, path])
  const database = `${path}.database`
  writeDatabase(database)
  runTool('debugfs', ['-w', '-R', `write ${database} ${basename(database)}`, path])
  rmSync(database)
  return {
    path,
    bytes: kImageBytes,
    files: readdirSync(tree, { recursive: true }).length,
    blocks: blocksOf(path, basename(database))
  }
}

/** What fsck says; throws unless the file system is clean. */
export function checkFileSystem (path: string): void {
  runTool('e2fsck', ['-f', '-n', path])
}

/** Not zeroes: mkfs and debugfs would leave holes instead. */
function writeDatabase (path: string): void {
  const file = openSync(path, 'w')
  const piece = randomBytes(2 ** 20)
  for (let i = 0; i < kDatabaseMiB; i++) writeSync(file, piece)
  closeSync(file)
}

/** From the extents: logical first - last, physical first - last, length. */
function blocksOf (image: string, name: string): number[] {
  const extents = runTool('debugfs', ['-R', `dump_extents -l ${name}`, image])
  const blocks: number[] = []
  for (const [, first, length] of extents.matchAll(/\d+ - +\d+ +(\d+) - +\d+ +(\d+)/g)) {
    for (let i = 0; i < Number(length); i++) blocks.push(Number(first) + i)
  }
  if (blocks.length !== kDatabaseMiB * 2 ** 20 / kBlock) {
    throw new Error(`debugfs does not tell where ${name} lies`)
  }
  return blocks
}
