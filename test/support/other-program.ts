// Another program that has a disk open.
import { spawn } from 'node:child_process'
import { once } from 'node:events'

import type { Test } from 'tap'

/** For reading and writing, until it is ended. */
export async function writerOf (t: Test, path: string): Promise<{ pid: number, end: () => Promise<void> }> {
  const child = spawn('sh', ['-c', 'exec 3<>"$0"; echo open; read line', path], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  const end = async () => {
    child.stdin.end('\n')
    await ended
  }
  t.teardown(end)
  await once(child.stdout, 'data')
  return { pid: child.pid!, end }
}
