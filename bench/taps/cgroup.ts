// A cgroup that this process and its writers are in, where limits need one.

import { appendFileSync, existsSync, mkdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { atEnd } from '../../testbed/support/cleanup.js'

const root = '/sys/fs/cgroup'
let made: string | undefined

/** For openTap(): nothing with version 1, whose root limits whole disks. */
export function limitedHere (): { cgroup?: string } {
  if (existsSync(join(root, 'blkio'))) return {}
  if (made === undefined) {
    appendFileSync(join(root, 'cgroup.subtree_control'), '+io')
    made = join(root, `blockferry-bench-${process.pid}`)
    mkdirSync(made)
    appendFileSync(join(made, 'cgroup.procs'), String(process.pid))
    atEnd(() => {
      appendFileSync(join(root, 'cgroup.procs'), String(process.pid))
      rmdirSync(made!)
    })
  }
  return { cgroup: made }
}
