// What is expensive to make (downloads, disk images, compiled programs) is made once and kept.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

const partPrefix = '.part-'
const dayMs = 86_400_000

const underway = new Map<string, Promise<string>>()

/** BLOCKFERRY_CACHE, else blockferry/ in XDG_CACHE_HOME, else in ~/.cache. */
export function cacheFolder (): string {
  const { BLOCKFERRY_CACHE: own, XDG_CACHE_HOME: user } = process.env
  const path = own || join(user || join(homedir(), '.cache'), 'blockferry')
  mkdirSync(path, { recursive: true })
  return path
}

/**
 * The cache's folder of this name. `build` fills it when it is not there yet. It fills a temporary
 * folder that takes the name when it is complete: a build that was killed leaves nothing behind
 * that counts, and of two at the same time the first one done wins.
 */
export function cached (name: string, build: (folder: string) => Promise<void>): Promise<string> {
  const known = underway.get(name)
  if (known !== undefined) return known
  const item = find(name, build)
  underway.set(name, item)
  item.catch(() => underway.delete(name))
  return item
}

/** A name for the cache that changes with any of these texts and bytes. */
export function keyed (name: string, ...inputs: (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const input of inputs) hash.update(`${input.length}:`).update(input)
  return `${name}-${hash.digest('hex').slice(0, 16)}`
}

async function find (name: string, build: (folder: string) => Promise<void>): Promise<string> {
  const folder = cacheFolder()
  const path = join(folder, name)
  if (existsSync(path)) return path
  removeOldParts(folder)
  const part = mkdtempSync(join(folder, partPrefix))
  // What is unpacked dates the folder that it is unpacked into: that one can't tell how old a build is.
  const content = join(part, 'content')
  mkdirSync(content, { mode: 0o700 })
  try {
    await build(content)
    take(content, path)
  } finally {
    rmSync(part, { recursive: true, force: true })
  }
  return path
}

function take (content: string, path: string): void {
  try {
    renameSync(content, path)
  } catch (error) {
    if (!existsSync(path)) throw error // else somebody else was faster
  }
}

// Builds that were killed. None takes a day.
function removeOldParts (folder: string): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    const isOld = name.startsWith(partPrefix) && Date.now() - statSync(path).mtimeMs > dayMs
    if (isOld) rmSync(path, { recursive: true, force: true })
  }
}
