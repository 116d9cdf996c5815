// Runs the system's tools (ip, nft, conntrack, nsupdate …): no shell, the output in a string, and
// what goes wrong as an error that says which tool and why.
import { spawn } from 'node:child_process'

import { BlockferryError } from '../base/errors.js'

export interface Ran {
  code: number | null
  stdout: string
  stderr: string
}

export interface CommandOptions {
  /** For the tool's standard input. */
  input?: string
  /** Milliseconds. Default 10 s: a tool that hangs must not hold up a switchover for ever. */
  timeoutMs?: number
}

const kTimeoutMs = 10_000
const kForbidden = /operation not permitted|permission denied|must be root|you must be/i
/** Where Debian has what a user's PATH may lack. */
const kPath = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`

/** Runs a tool to its end, whatever its exit code. UNSUPPORTED when it isn't there, TIMEOUT. */
export function execute (
  program: string, args: readonly string[], options: CommandOptions = {}
): Promise<Ran> {
  const { input = '', timeoutMs = kTimeoutMs } = options
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...process.env, PATH: kPath, LC_ALL: 'C' } })
    let [stdout, stderr, late] = ['', '', false]
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, timeoutMs)
    child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
    child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
    // A tool that ends before it has read all of its input says why by itself.
    child.stdin.on('error', () => {}).end(input)
    child.on('error', (cause) => {
      clearTimeout(timer)
      reject(new BlockferryError('UNSUPPORTED', `${program}: ${missing(cause)}`, { cause }))
    })
    child.on('close', (code) => {
      clearTimeout(timer)
      if (!late) return resolve({ code, stdout, stderr })
      reject(new BlockferryError('TIMEOUT', `${program} took longer than ${timeoutMs} ms`))
    })
  })
}

function missing (cause: NodeJS.ErrnoException): string {
  return cause.code === 'ENOENT' ? 'is not installed here' : cause.message
}

/** Runs a tool that has to succeed, and answers its output. NETWORK with what it said, or
 * NO_PERMISSION. */
export async function run (
  program: string, args: readonly string[], options: CommandOptions = {}
): Promise<string> {
  const { code, stdout, stderr } = await execute(program, args, options)
  if (code !== 0) {
    const said = stderr || stdout || `ended with ${code ?? 'a signal'}`
    throw failure(`${program} ${args.join(' ')}`, said)
  }
  return stdout
}

/** The error for what a tool said. */
export function failure (what: string, said: string): BlockferryError {
  const words = said.trim().split('\n').slice(0, 3).join('; ')
  if (kForbidden.test(said)) {
    return new BlockferryError('NO_PERMISSION', `${what}: ${words} (CAP_NET_ADMIN is needed)`)
  }
  return new BlockferryError('NETWORK', `${what}: ${words}`)
}
