// The C programs beside the benchmarks, compiled when they are needed.

import { existsSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../testbed/support/command.js'
import { cacheFolder, repository } from '../../testbed/support/folders.js'

/** Compiles bench/support/NAME.c unless that was done, and answers the program's path. */
export async function helper (name: string): Promise<string> {
  const source = join(repository, 'bench', 'support', `${name}.c`)
  const program = join(cacheFolder(), name)
  const isFresh = existsSync(program) && statSync(program).mtimeMs >= statSync(source).mtimeMs
  if (isFresh) return program
  // Another benchmark may be doing the same.
  const made = `${program}.${process.pid}`
  await run('cc', '-O2', '-o', made, source)
  renameSync(made, program)
  return program
}
