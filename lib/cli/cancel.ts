// blockferry cancel: end a migration before its commit.
import * as args from './args.js'
import type { Command } from './command.js'
import { kExit } from './exit-codes.js'
import { ask, kRunningHelp, kRunningOptions, selection } from './running.js'

export const cancel: Command = {
  name: 'cancel',
  summary: 'end a migration, the source goes on alone',
  help: `Usage: blockferry cancel --control PATH [--migration ID] [--delete]

Ends a migration before its commit and waits until it is over: the source goes on as before. Ends
a \`blockferry receive --control\` as well. BUSY when it is too late.

  --delete               delete what was copied, where the migration made the destination's file
${kRunningHelp}`,
  options: { ...kRunningOptions, delete: { type: 'boolean' } },
  run: async (values, output) => {
    const destination = args.flag(values, 'delete') ? 'delete' : 'keep'
    await ask(values, 'cancel', { ...selection(values), destination })
    output.event({ event: 'done' })
    output.line('cancelled: the source owns the disks')
    return kExit.done
  }
}
