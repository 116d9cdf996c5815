// Which cgroups to limit so that the writers of a disk are slowed, and nobody else.
//
// Version 1: the root, which has the limit of the whole disk, written-back pages included. Version
// 2 has none there: the cgroups of the processes that have the device open, or of the threads of Xen
// that serve it to a guest, or the nearest above each that the controller is on for.
import { readFile, readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { BlockferryError } from '../../base/errors.js'
import { deviceNumber } from '../../base/device-number.js'
import type { LimitedCgroup } from './cgroup-files.js'
import { limitedCgroup } from './cgroup-files.js'
import { backendThreads } from './xen-backend.js'

/** `chosen`: a cgroup's folder, of the user's choice. UNSUPPORTED says why there is none. */
export async function findCgroups (device: string, chosen?: string): Promise<LimitedCgroup[]> {
  if (chosen !== undefined) return [choose(chosen)]
  const mounts = await cgroupMounts()
  const root = mounts.version1 === undefined ? null : limitedCgroup(mounts.version1)
  if (root !== null) return [root]
  if (mounts.version2 === undefined) throw none('no cgroup io controller is mounted')
  return await ofUsers(device, mounts.version2)
}

function choose (folder: string): LimitedCgroup {
  const cgroup = limitedCgroup(folder)
  if (cgroup === null) throw none(`${folder} is no cgroup with the io controller`)
  return cgroup
}

async function ofUsers (device: string, root: string): Promise<LimitedCgroup[]> {
  const { rdev } = await stat(device)
  const [users, threads] = await Promise.all([usersOf(rdev), backendThreads(deviceNumber(rdev))])
  if (users.length + threads.length === 0) {
    throw none('no process has the device open itself: name the cgroup of those that write')
  }
  const folders = new Map<string, LimitedCgroup>()
  for (const user of [...users.map((id) => ({ id, name: null })), ...threads]) {
    const path = await cgroupOf(user.id)
    const cgroup = path === null ? null : nearest(root, path)
    if (cgroup !== null) folders.set(cgroup.name, cgroup)
    else if (path !== null) throw none(controllerOff(path, user.name))
  }
  if (folders.size === 0) throw none('the processes that had the device open have ended')
  return [...folders.values()]
}

/** `thread`: of Xen's. Those begin in the root, and nobody but an administrator moves them. */
function controllerOff (path: string, thread: string | null): string {
  const off = `the io controller is off for ${path}, where`
  if (thread === null) return `${off} its users are`
  return `${off} the thread ${thread} is that serves it to a guest of Xen: move that to a cgroup of its own`
}

function nearest (root: string, path: string): LimitedCgroup | null {
  for (let at = path; at !== '/'; at = dirname(at)) {
    const found = limitedCgroup(join(root, at))
    if (found !== null) return found
  }
  return null
}

async function cgroupMounts (): Promise<{ version1?: string, version2?: string }> {
  const lines = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' '))
  const version1 = lines.find(([, , type, options]) =>
    type === 'cgroup' && options!.split(',').includes('blkio'))?.[1]
  const version2 = lines.find(([, , type]) => type === 'cgroup2')?.[1]
  return { ...(version1 !== undefined && { version1 }), ...(version2 !== undefined && { version2 }) }
}

/** Processes that have the device itself open, but for this one. */
async function usersOf (rdev: number): Promise<string[]> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
  const users = await Promise.all(ids.map(async (id) => await hasOpen(id, rdev) ? id : null))
  return users.filter((id) => id !== null)
}

async function hasOpen (id: string, rdev: number): Promise<boolean> {
  const folder = `/proc/${id}/fd`
  const names = await readdir(folder).catch(() => []) // it has ended, or is somebody else's
  for (const name of names) {
    const file = await stat(join(folder, name)).catch(() => null)
    if (file !== null && file.isBlockDevice() && file.rdev === rdev) return true
  }
  return false
}

/** In version 2; null when the process has ended. */
async function cgroupOf (id: string): Promise<string | null> {
  const text = await readFile(`/proc/${id}/cgroup`, 'utf8').catch(() => '')
  return /^0::(.*)$/m.exec(text)?.[1] ?? null
}

function none (why: string): BlockferryError {
  return new BlockferryError('UNSUPPORTED', `the writers can't be slowed: ${why}`)
}
