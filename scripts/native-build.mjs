// Builds programs of native/CMakeLists.txt (tests, NAME_main.cc, fuzzers) by CMake and Ninja, once
// per flavour (native/CMakePresets.json), into native/build/FLAVOUR/.
//
// By hand: node scripts/native-build.mjs plain|address|thread|fuzzer SOURCE…

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Failure, hasCommand, isMain, main, root, run } from './support.mjs'

/** What a test can be built as. */
export const flavours = ['plain', 'address', 'thread']

/** Compiles and links these sources in one flavour; throws Failure when one does not compile. */
export function buildPrograms (flavour, sources) {
  if (sources.length === 0) return
  const missing = ['cmake', 'ninja'].filter((name) => !hasCommand(name))
  if (missing.length > 0) throw new Failure(`native programs need ${missing.join(' and ')}`)
  const programs = sources.map(programName)
  console.log(`native programs (${flavour}): ${programs.length}`)
  run('cmake', ['-S', 'native', '--preset', flavour, '--log-level=WARNING'], { quiet: true })
  const jobs = ['--parallel', String(availableParallelism())]
  run('cmake', ['--build', folderOf(flavour), ...jobs, '--target', ...programs, '--', '--quiet'])
}

const folderOf = (flavour) => `native/build/${flavour}`

// native/test/tunnel/wire_test.cc is tunnel_wire_test, in native/CMakeLists.txt, too.
function programName (source) {
  return source.replace(/^native\/(test|fuzz)\//, '').replace(/\.cc$/, '').replaceAll('/', '_')
}

/** Where the program of a test is, relative to the repository. */
export function programOf (flavour, source) {
  return `${folderOf(flavour)}/${programName(source)}`
}

/** What a command with a sanitizer may need in front: some fail to start where the kernel spreads
 * addresses wider than they know. */
export function fixedAddresses () {
  if (!hasCommand('setarch')) return []
  const works = spawnSync('setarch', ['-R', 'true'], { stdio: 'ignore' }).status === 0
  return works ? ['setarch', '-R'] : []
}

/** The files below a folder with this ending, relative to the repository, sorted. */
export function listFiles (folder, ending) {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { recursive: true })
    .filter((name) => name.endsWith(ending))
    .sort()
    .map((name) => `${folder}/${name}`)
}

if (isMain(import.meta.url)) {
  const [flavour, ...sources] = process.argv.slice(2)
  await main(() => buildPrograms(flavour, sources))
}
