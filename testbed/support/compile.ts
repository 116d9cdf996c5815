// C programs of the test bed, compiled when they are needed.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.js'
import { repository } from './folders.js'
import { cached, keyed } from './cache.js'

const flags = ['-std=gnu17', '-O2', '-Wall', '-Wextra', '-Werror', '-pthread']

export const testbedFolder = join(repository, 'testbed')

/**
 * Compiles one program of these sources (paths below testbed/; headers only count for the
 * question whether they changed) and answers its path. `extra` are more flags for the compiler.
 */
export async function compile (sources: readonly string[], ...extra: string[]): Promise<string> {
  const paths = sources.map((source) => join(testbedFolder, source))
  const programs = paths.filter((path) => path.endsWith('.c'))
  const inputs = paths.map((path) => readFileSync(path))
  const name = keyed('program', flags.join(' '), extra.join(' '), ...inputs)
  const folder = await cached(name, async (folder) => {
    await run('cc', ...flags, ...extra, '-o', join(folder, 'program'), ...programs)
  })
  return join(folder, 'program')
}
