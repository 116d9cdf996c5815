// Short commands: run to the end, output in a string.

import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/** Runs a command and answers its output; throws with its error output when it fails. */
export async function run (command: string, ...args: string[]): Promise<string> {
  const { stdout } = await execute(command, args, { maxBuffer: 64 << 20 })
  return stdout
}

/** Like run(), but answers undefined when the command fails or does not exist. */
export async function tryRun (command: string, ...args: string[]): Promise<string | undefined> {
  return run(command, ...args).catch(() => undefined)
}

/** Runs a command while everything waits; for clean-up. Throws when it fails. */
export function runSync (command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
