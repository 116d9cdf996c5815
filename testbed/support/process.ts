// Programs that run in a network namespace for as long as a test or a benchmark.

import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { once } from 'node:events'

export interface StartOptions {
  /** The name of a network namespace; without one, where this process is. */
  readonly namespace?: string
  readonly stdio?: StdioOptions
  readonly environment?: Readonly<Record<string, string>>
}

/**
 * Starts a program. Its process id is that of the program itself. The kernel kills it when this
 * process is gone, however that happens.
 */
export function start (command: readonly string[], options: StartOptions = {}): ChildProcess {
  const { namespace, stdio = 'ignore', environment } = options
  const place = namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace]
  const [program, ...args] = ['setpriv', '--pdeathsig', 'KILL', ...place, ...command]
  return spawn(program, args, { stdio, env: { ...process.env, ...environment } })
}

export function hasEnded (child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

/** Sends a signal and waits until the process is gone. Nothing happens when it is already. */
export async function end (child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (child.pid === undefined || hasEnded(child)) return
  const gone = once(child, 'exit')
  child.kill(signal)
  await gone
}
