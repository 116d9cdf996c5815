// Which process looks after what is kept in a file, so that another one can tell whether it still
// does.
import { readFileSync } from 'node:fs'

export interface ProcessIdentity {
  pid: number
  /** When it was started, in ticks since the boot: process ids are used again. */
  started: string
}

export function ownIdentity (): ProcessIdentity {
  return { pid: process.pid, started: startOf(process.pid) ?? '' }
}

export function isAlive ({ pid, started }: ProcessIdentity): boolean {
  return startOf(pid) === started
}

function startOf (pid: number): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in the second field may hold anything, parentheses too.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? null : fields[19]!
  } catch {
    return null
  }
}
