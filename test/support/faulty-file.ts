// A file whose reads and writes fail with EIO on demand: nbdkit's error filter, mounted as a file
// by nbdfuse. Open it with direct I/O, or the page cache hides what fails.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** For a test's `skip`: false, or why not. */
export const kNeedsFuse = process.getuid?.() === 0 && existsSync('/dev/fuse')
  ? false
  : 'a file whose reads fail needs FUSE, and root to mount it'

interface Teardown { teardown: (body: () => unknown) => void }

export interface FaultyFile {
  path: string
  fail: (what: 'reads' | 'writes') => void
  mend: () => void
}

/** A second way to an image, through which every request can be made to fail. */
export async function faultyFile (t: Teardown, image: string): Promise<FaultyFile> {
  const path = `${image}.faulty`
  const triggers = { reads: `${image}.no-reads`, writes: `${image}.no-writes` }
  writeFileSync(path, '')
  const child = spawn('nbdfuse', [
    path, '[', 'nbdkit', '--exit-with-parent', '--filter=error', 'file', image,
    'error-pread=EIO', 'error-pread-rate=100%', `error-pread-file=${triggers.reads}`,
    'error-pwrite=EIO', 'error-pwrite-rate=100%', `error-pwrite-file=${triggers.writes}`, ']'
  ], { stdio: 'ignore' })
  const ended = once(child, 'close')
  t.teardown(async () => {
    execFileSync('umount', ['-l', path])
    await ended
  })
  while (statSync(path).size === 0) {
    if (child.exitCode !== null) throw new Error('nbdfuse has ended')
    await sleep(10)
  }
  const mend = () => {
    for (const trigger of Object.values(triggers)) rmSync(trigger, { force: true })
  }
  return { path, fail: (what) => writeFileSync(triggers[what], ''), mend }
}
