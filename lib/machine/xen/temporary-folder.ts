// Folders for pipes and for what programs say, in the system's for temporary files. Their names say whose
// they are, so that those of processes that were killed can go when the next one is made.
import { closeSync, constants, lstatSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { isAlive, ownIdentity } from '../../base/process-identity.js'

const kName = /^blockferry-xen-(\d+)-(\d+)-/

export function makeFolder (): string {
  removeLeft()
  const { pid, started } = ownIdentity()
  return mkdtempSync(join(tmpdir(), `blockferry-xen-${pid}-${started}-`))
}

/** Whoever waits for somebody to open a pipe's other end waits no more. */
export function freePipe (path: string): void {
  closeSync(openSync(path, constants.O_RDWR | constants.O_NONBLOCK))
}

export function removeFolder (folder: string): void {
  rmSync(folder, { recursive: true, force: true })
}

function removeLeft (): void {
  for (const name of readdirSync(tmpdir())) {
    const [, pid, started] = kName.exec(name) ?? []
    if (pid !== undefined && !isAlive({ pid: Number(pid), started: started! })) remove(join(tmpdir(), name))
  }
}

/** Not another user's, who could have put anything under the name. */
function remove (folder: string): void {
  try {
    if (lstatSync(folder).uid !== process.getuid!()) return
    for (const name of readdirSync(folder)) {
      if (lstatSync(join(folder, name)).isFIFO()) freePipe(join(folder, name))
    }
    removeFolder(folder)
  } catch {} // another process was quicker
}
