// The threads of Xen's blkback that serve a device to its guest. blkback has the device open in the
// kernel, so no process shows it.
import { readdir, readFile } from 'node:fs/promises'

const kBackends = '/sys/bus/xen-backend/devices'
const kXvdMajor = 202
const kExtended = 1 << 28

export interface BackendThread {
  /** Of the process, as a thread of the kernel's is one. */
  readonly id: string
  /** As ps shows it: '1.xvda-0'. */
  readonly name: string
}

/** `disk`: like '7:0'. None without Xen. */
export async function backendThreads (disk: string): Promise<BackendThread[]> {
  const prefixes = await threadPrefixes(disk)
  if (prefixes.length === 0) return []
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const threads = await Promise.all(ids.map(async (id) => ({ id, name: await read(`/proc/${id}/comm`) })))
  return threads.filter(({ name }) => prefixes.some((prefix) => name.startsWith(prefix)))
}

/** How the threads of its backends are called: '1.xvda-', followed by the number of the queue. */
async function threadPrefixes (disk: string): Promise<string[]> {
  const [major, minor] = disk.split(':').map((part) => Number(part).toString(16))
  const names = await readdir(kBackends).catch(() => [])
  const prefixes = await Promise.all(names.map(async (name) => {
    const [, domain, device] = /^vbd-(\d+)-(\d+)$/.exec(name) ?? []
    const its = domain === undefined ? null : deviceName(Number(device))
    if (its === null || await read(`${kBackends}/${name}/physical_device`) !== `${major}:${minor}`) return null
    return `${domain}.${its}-`
  }))
  return prefixes.filter((prefix) => prefix !== null)
}

/** The guest's name for it, of disks called xvd… */
function deviceName (number: number): string | null {
  const isExtended = (number & kExtended) !== 0
  if (!isExtended && number >> 8 !== kXvdMajor) return null
  const [disk, part] = isExtended ? [(number & ~kExtended) >> 8, number & 255] : [(number & 255) >> 4, number & 15]
  return `xvd${letters(disk)}${part === 0 ? '' : part}`
}

function letters (disk: number): string {
  const last = String.fromCharCode('a'.charCodeAt(0) + disk % 26)
  return disk < 26 ? last : letters(Math.floor(disk / 26) - 1) + last
}

async function read (path: string): Promise<string> {
  return (await readFile(path, 'utf8').catch(() => '')).trim()
}
