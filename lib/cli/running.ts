// The commands on a running migration have this much in common.
import { ControlClient } from '../control/client.js'
import type { CommandName, Commands, Selection } from '../control/protocol.js'
import * as args from './args.js'
import type { Values } from './command.js'

export const kRunningOptions = {
  control: { type: 'string' },
  migration: { type: 'string' }
} as const

export const kRunningHelp = `  --control PATH         the control socket of the serve that runs the migration
  --migration ID         which one, if several run: its id or the beginning of it
  --json                 the outcome on stdout as a JSON object`

export function selection (values: Values): Selection {
  const migration = args.text(values, 'migration')
  return migration === undefined ? {} : { migration }
}

/** Sends one command to the process behind --control. */
export async function ask<C extends CommandName> (
  values: Values, command: C, request: Commands[C]['arguments']
): Promise<Commands[C]['result']> {
  const client = await ControlClient.connect(args.required(values, 'control'))
  try {
    return await client.request(command, request)
  } finally {
    client.close()
  }
}
