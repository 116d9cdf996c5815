// In dom0: the thread of the backend that writes to the guest's first disk, and its cgroup.

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'

import { run } from './guest-disk.js'

const kRoot = '/sys/fs/cgroup'
const kThread = /^\d+\.xvda-0$/

export const kCgroup = `${kRoot}/guest`

/** Into a cgroup that limits can be set for. */
export function moveThread (): void {
  writeFileSync(`${kRoot}/cgroup.subtree_control`, '+io')
  if (!existsSync(kCgroup)) mkdirSync(kCgroup)
  writeFileSync(`${kCgroup}/cgroup.procs`, threadId())
}

/** To where it began. */
export function moveThreadBack (): void {
  writeFileSync(`${kRoot}/cgroup.procs`, threadId())
}

function threadId (): string {
  const threads = run('busybox', 'ps', '-o', 'pid,comm').split('\n').map((line) => line.trim().split(/\s+/))
  const [id] = threads.find(([, name]) => kThread.test(name!)) ?? []
  if (id === undefined) throw new Error('no guest has a disk')
  return id
}
