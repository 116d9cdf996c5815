// A file that fails on demand, mounted by nbdfuse: nbdkit's error filter, or a script of its own for
// a disk that lies. Open it with direct I/O, or the page cache hides what fails.
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
  /** Lies: nothing that is written from now on is kept, and nobody is told. */
  fail: (what: 'reads' | 'writes' | 'lies') => void
  mend: () => void
}

export interface FaultyOptions {
  /** Of a write that fails. Default: EIO. */
  writeError?: 'EIO' | 'ENOSPC'
  /** Each request takes so long, ms. Default: 0. */
  delayMs?: number
  /** It can lie, and then nothing else. */
  lies?: boolean
}

/** A second way to an image, through which every request can be made to fail. */
export async function faultyFile (t: Teardown, image: string, options: FaultyOptions = {}): Promise<FaultyFile> {
  const path = `${image}.faulty`
  const triggers = { reads: `${image}.no-reads`, writes: `${image}.no-writes`, lies: `${image}.lies` }
  writeFileSync(path, '')
  const served = options.lies === true ? liar(image, triggers.lies) : failing(image, triggers, options)
  const child = spawn('nbdfuse', [path, '[', 'nbdkit', '--exit-with-parent', ...served, ']'], { stdio: 'ignore' })
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

function failing (
  image: string, triggers: { reads: string, writes: string }, { writeError = 'EIO', delayMs = 0 }: FaultyOptions
): string[] {
  return [
    '--filter=error', ...(delayMs > 0 ? ['--filter=delay'] : []), 'file', image,
    'error-pread=EIO', 'error-pread-rate=100%', `error-pread-file=${triggers.reads}`,
    `error-pwrite=${writeError}`, 'error-pwrite-rate=100%', `error-pwrite-file=${triggers.writes}`,
    ...(delayMs > 0 ? [`rdelay=${delayMs}ms`, `wdelay=${delayMs}ms`] : [])
  ]
}

function liar (image: string, trigger: string): string[] {
  const copy = 'dd bs=1M iflag=fullblock status=none'
  return [
    'eval', `get_size=stat -c %s ${image}`, 'can_write=exit 0', 'can_flush=exit 0', 'flush=exit 0',
    `pread=dd bs=1M if=${image} iflag=skip_bytes,count_bytes skip=$4 count=$3 status=none`,
    `pwrite=if [ -e ${trigger} ]; then cat > /dev/null; else ` +
      `${copy} of=${image} oflag=seek_bytes conv=notrunc seek=$4; fi`
  ]
}
