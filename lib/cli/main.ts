// Finds the command, reads its arguments, and turns errors into messages and exit codes.
import { readFileSync } from 'node:fs'

import { BlockferryError } from '../base/errors.js'
import { cancel } from './cancel.js'
import type { Command } from './command.js'
import { readArguments } from './command.js'
import { UsageError } from './usage-error.js'
import { exitCodeOf, kExit, kExitHelp } from './exit-codes.js'
import { Output } from './output.js'
import { pause } from './pause.js'
import { probe } from './probe.js'
import { receive } from './receive.js'
import { recover } from './recover.js'
import { redirect } from './redirect.js'
import { resume } from './resume.js'
import { send } from './send.js'
import { serve } from './serve.js'
import { set } from './set.js'
import { status } from './status.js'
import { switchover } from './switchover.js'

const kCommands: Command[] = [
  serve, receive, send, status, pause, resume, switchover, cancel, set, recover, redirect,
  probe
]

function help (): string {
  const width = Math.max(...kCommands.map(({ name }) => name.length)) + 3
  return `Usage: blockferry COMMAND [OPTION …]

Moves a running machine's disk from one host to another while it keeps writing.

${kCommands.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`).join('\n')}

\`blockferry COMMAND --help\` explains each.
${kExitHelp}`
}

/** Runs the command line and answers the exit code. */
export async function main (args: string[]): Promise<number> {
  const output = new Output(args.includes('--json'))
  const [name = '', ...rest] = args
  const command = kCommands.find((known) => known.name === name)
  try {
    if (['--help', '-h', 'help'].includes(name)) return print(help())
    if (['--version', '-v'].includes(name)) return print(version())
    if (command === undefined) throw new UsageError(unknownCommand(name))
    if (rest.includes('--help') || rest.includes('-h')) return print(command.help)
    return await command.run(readArguments(command, rest), output)
  } catch (error) {
    if (!(error instanceof BlockferryError)) throw error
    output.failed(error, command?.name ?? '')
    return error instanceof UsageError ? kExit.usage : exitCodeOf(error)
  }
}

function unknownCommand (name: string): string {
  if (name === '' || name === '--json') return 'a command is needed'
  return `${name}: no such ${name.startsWith('-') ? 'option' : 'command'}`
}

function print (text: string): number {
  process.stdout.write(`${text}\n`)
  return kExit.done
}

function version (): string {
  const path = new URL('../../../package.json', import.meta.url)
  return JSON.parse(readFileSync(path, 'utf8')).version
}
