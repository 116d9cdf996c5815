// What a command is, and how its arguments are read.
import type { ParseArgsConfig } from 'node:util'
import { parseArgs } from 'node:util'

import type { Output } from './output.js'
import { UsageError } from './usage-error.js'

export type Values = Record<string, string | boolean | string[] | undefined>

export interface Command {
  name: string
  /** A line for the list of commands. */
  summary: string
  /** What --help prints. */
  help: string
  options: NonNullable<ParseArgsConfig['options']>
  /** Takes one argument that is no option, in capitals: its value is called so. */
  operand?: string
  /** Answers the exit code; errors are thrown. */
  run: (values: Values, output: Output) => Promise<number>
}

/** Errors: UsageError, naming the option. */
export function readArguments (command: Command, args: string[]): Values {
  const common = { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const
  const options = { ...command.options, ...common }
  try {
    const { values, positionals } = parseArgs({ args, options, strict: true, allowPositionals: true })
    return { ...values, ...operandIn(command, positionals) }
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(firstSentence((error as Error).message))
  }
}

function operandIn ({ operand }: Command, [first, ...more]: string[]): Values {
  const unexpected = operand === undefined ? first : more[0]
  if (unexpected !== undefined) throw new UsageError(`Unexpected argument '${unexpected}'`)
  if (operand === undefined) return {}
  if (first === undefined) throw new UsageError(`${operand}: is needed`)
  return { [operand]: first }
}

function firstSentence (message: string): string {
  return message.split(/\.\s|\.$|\n/)[0]!
}
