// A cgroup that a test's writers run in, where version 2 has the io controller; else the root of
// version 1, which limits whole disks.
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'

import type { Test } from 'tap'

const kVersion1 = '/sys/fs/cgroup/blkio'
const kVersion2 = '/sys/fs/cgroup'

/** For a test's `skip`: false, or why writers can't be limited here. */
export const kNeedsCgroups: string | false = existsSync(join(kVersion1, 'blkio.throttle.write_bps_device')) ||
  /\bio\b/.test(read(join(kVersion2, 'cgroup.controllers')))
  ? false
  : 'the kernel has no cgroup io controller'

export interface LimitedGroup {
  folder: string
  /** What a process has to do to be in it, as a line of shell. */
  enter: string
  /** The limit in force on a disk like '7:0', bytes a second; null: none. */
  limit: (disk: string) => number | null
  setLimit: (disk: string, bytesPerSecond: number | null) => void
  /** The file of its limits, and the line in it for one. */
  file: string
  line: (disk: string, bytesPerSecond: number | null) => string
}

export function limitedGroup (t: Test): LimitedGroup {
  return existsSync(kVersion1) ? version1() : version2(t)
}

function version1 (): LimitedGroup {
  const file = join(kVersion1, 'blkio.throttle.write_bps_device')
  const line = (disk: string, rate: number | null) => `${disk} ${rate ?? 0}`
  return {
    folder: kVersion1,
    enter: 'true',
    limit: (disk) => Number(new RegExp(`^${disk} (\\d+)$`, 'm').exec(read(file))?.[1] ?? 0) || null,
    setLimit: (disk, rate) => appendFileSync(file, line(disk, rate)),
    file,
    line
  }
}

function version2 (t: Test): LimitedGroup {
  appendFileSync(join(kVersion2, 'cgroup.subtree_control'), '+io')
  const folder = join(kVersion2, `blockferry-test-${process.pid}`)
  mkdirSync(folder)
  t.teardown(() => rmdirSync(folder))
  const file = join(folder, 'io.max')
  const line = (disk: string, rate: number | null) => `${disk} wbps=${rate ?? 'max'}`
  return {
    folder,
    enter: `echo $$ > ${join(folder, 'cgroup.procs')}`,
    limit: (disk) => Number(new RegExp(`^${disk} .*wbps=(\\d+)`, 'm').exec(read(file))?.[1] ?? 0) || null,
    setLimit: (disk, rate) => appendFileSync(file, line(disk, rate)),
    file,
    line
  }
}

function read (file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
