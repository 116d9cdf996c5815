// blockferry resume: go on sending after a pause.
import type { Command } from './command.js'
import { kExit } from './exit-codes.js'
import { ask, kRunningHelp, kRunningOptions, selection } from './running.js'

export const resume: Command = {
  name: 'resume',
  summary: 'go on sending after a pause',
  help: `Usage: blockferry resume --control PATH [--migration ID]

Ends a \`blockferry pause\`.

${kRunningHelp}`,
  options: kRunningOptions,
  run: async (values, output) => {
    await ask(values, 'resume', selection(values))
    output.event({ event: 'done' })
    output.line('resumed')
    return kExit.done
  }
}
