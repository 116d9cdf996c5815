// blockferry pause: stop sending for a while.
import type { Command } from './command.js'
import { kExit } from './exit-codes.js'
import { ask, kRunningHelp, kRunningOptions, selection } from './running.js'

export const pause: Command = {
  name: 'pause',
  summary: 'stop sending for a while',
  help: `Usage: blockferry pause --control PATH [--migration ID]

The migration sends nothing until \`blockferry resume\`; the writers go on and what they write is
tracked.

${kRunningHelp}`,
  options: kRunningOptions,
  run: async (values, output) => {
    await ask(values, 'pause', selection(values))
    output.event({ event: 'done' })
    output.line('paused')
    return kExit.done
  }
}
