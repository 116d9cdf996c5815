// Builds everything: the native addon, and TypeScript into dist/.

import { chmodSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { buildAddon } from './build-addon.mjs'
import { Failure, isMain, main, root, run } from './support.mjs'

/** Builds what is out of date. Throws Failure when something does not compile. */
export function build () {
  if (!buildAddon()) throw new Failure('no native addon')
  run(join(root, 'node_modules', '.bin', 'tsc'), ['-p', 'tsconfig.json'])
  const commandLine = join(root, 'dist', 'lib', 'cli.js')
  if (existsSync(commandLine)) chmodSync(commandLine, 0o755)
}

if (isMain(import.meta.url)) await main(build)
