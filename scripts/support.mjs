// What the scripts share. No dependency: they run on a fresh clone, before npm install.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, realpathSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** A failure that a message says all about: no stack trace is printed for it. */
export class Failure extends Error {}

/** Runs a command in the repository, its output shown; throws Failure unless it exits with 0. */
export function run (command, args, { env = {}, quiet = false } = {}) {
  const result = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', quiet ? 'ignore' : 'inherit', 'inherit']
  })
  if (result.error) throw new Failure(`${command}: ${result.error.message}`)
  if (result.status !== 0) {
    const end = result.signal ?? `exit ${result.status}`
    throw new Failure(`${[command, ...args].join(' ')}: ${end}`)
  }
}

/** Runs a program of ours with Node and answers its exit code; signals are left to it. */
export async function runProgram (path, args) {
  const child = spawn(process.execPath, [path, ...args], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
  const [code] = await once(child, 'exit')
  return code ?? 1
}

/** Whether a command can be run. The sbin directories count: not every user's PATH has them. */
export function hasCommand (name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some((folder) => folder !== '' && isExecutable(join(folder, name)))
}

function isExecutable (path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Whether pkg-config knows the library; false too where there is no pkg-config. */
export function hasLibrary (name) {
  return spawnSync('pkg-config', ['--exists', name], { stdio: 'ignore' }).status === 0
}

/** Whether the module at `url` is the script that was started, not an import of another. */
export function isMain (url) {
  return fileURLToPath(url) === realpathSync(process.argv[1])
}

/** Runs a script's main function and turns a Failure into one line and exit code 1. */
export async function main (body) {
  try {
    process.exitCode = (await body()) ?? 0
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    console.error(`blockferry: ${error.message}`)
    process.exitCode = 1
  }
}
