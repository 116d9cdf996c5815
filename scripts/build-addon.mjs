// Builds the native addon with node-gyp, when a source is newer than the last build.
//
// `--if-missing` is for npm's install step: does nothing where an addon is there already, and
// where the tools or libraries are missing it says so and lets the installation go on (the
// package can't be used until then). This file is published, so it imports no other script.

import { spawnSync } from 'node:child_process'
import {
  existsSync,
  readFileSync,
  readdirSync,
  realpathSync,
  statSync,
  utimesSync,
  writeFileSync
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const stamp = join(root, 'build', '.built')
const commands = ['g++', 'make', 'python3', 'pkg-config']
const libraries = ['liburing', 'libxxhash', 'libzstd']
const installLine =
  'apt-get install g++ make python3 pkg-config ' +
  'libgnutls28-dev liburing-dev libxxhash-dev libzstd-dev (and clang libbpf-dev for the bpf tap, ' +
  'libdevmapper-dev for the dm tap)'

/** Builds the addon if need be. False, with the reason printed, when it could not be built. */
export function buildAddon ({ ifMissing = false } = {}) {
  if (isFresh(ifMissing)) return true
  const missing = missingTools()
  if (missing.length > 0) {
    console.error(`blockferry: no native addon was built, missing are: ${missing.join(', ')}`)
    console.error(`  on Debian or Ubuntu: ${installLine}`)
    console.error('  then: npm rebuild blockferry')
    return false
  }
  return nodeGyp(needsConfigure() ? ['configure', 'build'] : ['build'])
}

function isFresh (ifMissing) {
  if (!hasAddon()) return false
  return ifMissing || (hasSameSources() && newest(sources()) <= modified(stamp))
}

function hasAddon () {
  const folder = join(root, 'build', 'Release')
  return existsSync(folder) && readdirSync(folder).some((name) => name.endsWith('.node'))
}

// The stamp holds the names of what was built: binding.gyp may take them from a listing, so a
// source that came or went needs a new configuration.
function hasSameSources () {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === sources().join('\n')
}

function needsConfigure () {
  const makefile = join(root, 'build', 'Makefile')
  if (!existsSync(makefile) || !hasSameSources()) return true
  return newest(configured()) > modified(makefile)
}

// What is built while configuring: the program for the kernel.
function configured () {
  return sources().filter((path) => path === 'binding.gyp' || path.startsWith('native/core/tap/bpf/program/'))
}

// Of native/, what the addon is built from: not its tests, fuzzers and their objects.
function sources () {
  const files = ['native/core', 'native/node'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true })
      .filter((name) => /\.(c|cc|h)$/.test(name))
      .map((name) => `${folder}/${name}`)
  )
  return ['binding.gyp', 'native/addon.cc', ...files.sort()]
}

function newest (paths) {
  return Math.max(...paths.map((path) => modified(join(root, path))))
}

function modified (path) {
  return statSync(path).mtimeMs
}

function missingTools () {
  const runs = (command, args) => spawnSync(command, args, { stdio: 'ignore' }).status === 0
  const missing = commands.filter((command) => !runs(command, ['--version']))
  if (missing.includes('pkg-config')) return missing
  return [...missing, ...libraries.filter((name) => !runs('pkg-config', ['--exists', name]))]
}

function nodeGyp (args) {
  const started = new Date()
  const names = sources().join('\n')
  const require = createRequire(import.meta.url)
  const program = require.resolve('node-gyp/bin/node-gyp.js')
  const options = ['--jobs=2', '--loglevel=warn', ...localHeaders()]
  const result = spawnSync(process.execPath, [program, ...args, ...options], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit']
  })
  if (result.status !== 0) {
    console.error('blockferry: building the native addon failed')
    return false
  }
  writeFileSync(stamp, names)
  utimesSync(stamp, started, started) // what was edited during the build is built again
  return true
}

// Node's own headers beside the running node, so that nothing is downloaded.
function localHeaders () {
  const prefix = dirname(dirname(process.execPath))
  return existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? [`--nodedir=${prefix}`] : []
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const ifMissing = process.argv.includes('--if-missing')
  const toolsMissing = ifMissing && missingTools().length > 0
  if (!buildAddon({ ifMissing }) && !toolsMissing) process.exitCode = 1
}
