// Compiles the program for the kernel (native/core/tap/bpf/program) and wraps it into a header for
// the core, in native/build/bpf. Prints yes, or no where the tools are missing: then the addon is built without
// the bpf tap. binding.gyp asks; this file is published, so it imports no other script.

import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const folder = join(root, 'native', 'build', 'bpf')
const source = 'native/core/tap/bpf/program/block_writes.bpf.c'
const warnings = ['-Wall', '-Wextra', '-Wno-unused-parameter']
const flags = ['-target', 'bpf', '-mcpu=v3', '-O2', '-g', ...warnings]

/** False when there is no clang, or no libbpf, or not one that can do it: then it says why. */
export function buildBpf () {
  const output = (command, args) => spawnSync(command, args, { cwd: root, encoding: 'utf8' })
  if (output('clang', ['--version']).status !== 0) return false
  const libbpf = output('pkg-config', ['--cflags', 'libbpf'])
  if (libbpf.status !== 0) return false
  mkdirSync(folder, { recursive: true })
  const object = join(folder, 'block_writes.o')
  const includes = [...libbpf.stdout.split(/\s+/).filter(Boolean), ...systemIncludes(output)]
  const { status, stderr } = output('clang', [...flags, ...includes, '-c', source, '-o', object])
  process.stderr.write(stderr)
  if (status !== 0) return false
  writeIfChanged(join(folder, 'block_writes_object.h'), header(readFileSync(object)))
  return true
}

// Debian keeps the kernel's headers of an architecture in a folder that only its own compiler
// knows.
function systemIncludes (output) {
  const { stdout } = output('g++', ['-print-multiarch'])
  const name = stdout?.trim()
  return name ? ['-idirafter', `/usr/include/${name}`] : []
}

function header (bytes) {
  return `alignas(8) static const unsigned char kBlockWritesObject[] = {${[...bytes].join(',')}};\n`
}

function writeIfChanged (path, text) {
  try {
    if (readFileSync(path, 'utf8') === text) return
  } catch {
    // There is none yet.
  }
  writeFileSync(path, text)
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  console.log(buildBpf() ? 'yes' : 'no')
}
