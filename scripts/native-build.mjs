// Compiles native tests and tools (native/test/NAME_main.cc) with all of native/core, once per
// flavour, into native/build/FLAVOUR/. What is newer than its sources and headers stays.
//
// By hand: node scripts/native-build.mjs plain|address|thread|fuzzer SOURCE…

import { spawn, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { buildBpf } from './build-bpf.mjs'
import { Failure, hasCommand, hasLibrary, isMain, main, root } from './support.mjs'

const jobs = 2
const always = ['gnutls', 'liburing', 'libxxhash', 'libzstd']
const defines = ['-DBLOCKFERRY_HAVE_GNUTLS', '-DBLOCKFERRY_HAVE_LIBURING']
const commonFlags = ['-std=c++20', '-O1', '-g', '-Wall', '-Wextra', '-pthread', ...defines]
const includes = ['-Inative', '-Inative/core', '-Inative/build/bpf']

// What a sanitizer finds ends the program at once.
const strict = ['-fno-sanitize-recover=all', '-fno-omit-frame-pointer']
const gcc = process.env.CXX ?? 'g++'
const toolchains = {
  plain: { compiler: gcc, own: [] },
  address: { compiler: gcc, own: ['-fsanitize=address,undefined', ...strict] },
  thread: { compiler: gcc, own: ['-fsanitize=thread'] },
  fuzzer: { compiler: 'clang++', own: ['-fsanitize=fuzzer,address,undefined', ...strict] },
}

/** What a test can be built as. */
export const flavours = ['plain', 'address', 'thread']

/** Compiles and links these sources in one flavour; throws Failure when one does not compile. */
export async function buildPrograms(flavour, mains) {
  const folder = `native/build/${flavour}`
  const { compiler, own } = toolchains[flavour]
  const hasBpf = buildBpf()
  const hasDm = hasLibrary('devmapper')
  const libraries = [...always, ...(hasBpf ? ['libbpf'] : []), ...(hasDm ? ['devmapper'] : [])]
  const taps = [
    ...(hasBpf ? ['-DBLOCKFERRY_HAVE_BPF'] : []), ...(hasDm ? ['-DBLOCKFERRY_HAVE_DM'] : []),
  ]
  const command = [
    compiler, ...commonFlags, ...taps, ...includes, ...pkgConfig('--cflags', libraries), ...own,
  ]
  prepareFolder(folder, command)
  const core = listFiles('native/core', '.cc')
  const stale = [...core, ...mains].filter((path) => !isFresh(objectOf(flavour, path)))
  if (stale.length > 0) console.log(`native programs (${flavour}): compiling ${stale.length} files`)
  await inParallel(stale, (path) => compile(path, objectOf(flavour, path), command))

  const objects = core.map((path) => objectOf(flavour, path))
  await inParallel(mains, async (path) => {
    const inputs = [objectOf(flavour, path), ...objects]
    const program = programOf(flavour, path)
    if (isNewer(program, inputs)) return
    await toEnd([...command, '-o', program, ...inputs, ...pkgConfig('--libs', libraries)], program)
  })
}

// What another command made is thrown away.
function prepareFolder(folder, command) {
  const path = join(root, folder, 'command')
  const line = command.join(' ')
  if (existsSync(path) && readFileSync(path, 'utf8') === line) return
  rmSync(join(root, folder), { recursive: true, force: true })
  mkdirSync(join(root, folder), { recursive: true })
  writeFileSync(path, line)
}

function pkgConfig(what, libraries) {
  const result = spawnSync('pkg-config', [what, ...libraries], { encoding: 'utf8' })
  if (result.status !== 0) throw new Failure(`pkg-config ${what}: ${result.stderr}`)
  return result.stdout.split(/\s+/).filter((word) => word !== '')
}

function objectOf(flavour, source) {
  return `native/build/${flavour}/${basename(source, '.cc')}.o`
}

/** Where the program of a test is, relative to the repository. */
export function programOf(flavour, source) {
  return `native/build/${flavour}/${basename(source, '.cc')}`
}

/** What a command with a sanitizer may need in front: some fail to start where the kernel spreads
 * addresses wider than they know. */
export function fixedAddresses() {
  if (!hasCommand('setarch')) return []
  const works = spawnSync('setarch', ['-R', 'true'], { stdio: 'ignore' }).status === 0
  return works ? ['setarch', '-R'] : []
}

// An object's .d file, written by the compiler, lists what it was made from.
function isFresh(object) {
  const list = join(root, object.replace(/o$/, 'd'))
  if (!existsSync(list)) return false
  const names = readFileSync(list, 'utf8').replace(/\\\n/g, ' ').split(':').slice(1).join(':')
  return isNewer(object, names.split(/\s+/).filter((name) => name !== ''))
}

function isNewer(product, inputs) {
  const time = (path) => statSync(resolve(root, path), { throwIfNoEntry: false })?.mtimeMs
  const made = time(product)
  return made !== undefined && inputs.every((path) => (time(path) ?? Infinity) <= made)
}

async function compile(source, object, command) {
  const dependencies = ['-MMD', '-MF', object.replace(/o$/, 'd')]
  await toEnd([...command, ...dependencies, '-c', source, '-o', object], source)
}

async function inParallel(items, task) {
  const queue = [...items]
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await task(item)
  }
  await Promise.all(Array.from({ length: jobs }, worker))
}

function toEnd([command, ...args], subject) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
    child.on('error', reject)
    child.on('exit', (code) => {
      if (code === 0) resolve()
      else reject(new Failure(`${command} failed on ${subject}`))
    })
  })
}

/** The files of a folder with this ending, relative to the repository, sorted. */
export function listFiles(folder, ending) {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder))
    .filter((name) => name.endsWith(ending))
    .sort()
    .map((name) => `${folder}/${name}`)
}

if (isMain(import.meta.url)) {
  const [flavour, ...sources] = process.argv.slice(2)
  await main(() => buildPrograms(flavour, sources))
}
