// Runs a program of the system's (ip, nft, nsupdate, xl …): no shell, the output in a string, and never for ever.
import { spawn } from 'node:child_process'

import { BlockferryError } from './errors.js'

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
