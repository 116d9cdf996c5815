// The files that the guest's web server has: pages that compress well, pictures that do not, and
// one large file whose every byte a client can predict.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const largeShare = 1 / 4
const largeSeed = 1
const stepBytes = 2 ** 20

/** The name of the large file, a quarter of all content. Its bytes are `noise(offset, length)`. */
export const largeFile = 'large.bin'

/** The page that is always there. */
export const indexFile = 'index.html'

export function largeFileBytes (contentBytes: number): number {
  return Math.floor((contentBytes * largeShare) / 4) * 4
}

/** What the large file holds there. Both numbers must be multiples of 4. */
export function noise (offset: number, length: number, seed = largeSeed): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  const first = offset / 4
  for (let i = 0; i < length / 4; i++) bytes.writeUInt32LE(scramble(first + i, seed), i * 4)
  return bytes
}

/** Fills an empty folder with about so many bytes. The same each time. */
export function writeContent (folder: string, contentBytes: number): void {
  writeFileSync(join(folder, indexFile), page('The index', 2 ** 12))
  const largeBytes = largeFileBytes(contentBytes)
  for (let at = 0; at < largeBytes; at += stepBytes) {
    const part = noise(at, Math.min(stepBytes, largeBytes - at))
    writeFileSync(join(folder, largeFile), part, { flag: 'a' })
  }
  writePairs(folder, contentBytes - largeBytes)
}

// A page and a picture at a time, of 4 KiB to 256 KiB each, 64 files in a folder.
function writePairs (folder: string, bytes: number): void {
  for (let written = 0, number = 0; written < bytes; number++) {
    const parent = join(folder, String(Math.floor(number / 32)))
    const size = 2 ** (12 + (scramble(number, 2) % 7))
    mkdirSync(parent, { recursive: true })
    writeFileSync(join(parent, `${number}.html`), page(`Page ${number}`, size))
    writeFileSync(join(parent, `${number}.jpg`), noise(0, size, number + 3))
    written += 2 * size
  }
}

function page (title: string, bytes: number): string {
  const line = (number: number) => `<p>${title}, line ${number}: ${scramble(number, 1)}</p>\n`
  let text = `<!doctype html>\n<title>${title}</title>\n`
  for (let number = 0; text.length < bytes; number++) text += line(number)
  return text.slice(0, bytes)
}

// A number of 32 bits that looks random (the last step of MurmurHash3).
function scramble (number: number, seed: number): number {
  let bits = (number ^ Math.imul(seed, 0x9e3779b1)) | 0
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return (bits ^ (bits >>> 16)) >>> 0
}
