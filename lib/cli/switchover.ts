// blockferry switchover: switch over as soon as the budget is met.
import type { Command } from './command.js'
import { kExit } from './exit-codes.js'
import { ask, kRunningHelp, kRunningOptions, selection } from './running.js'

export const switchover: Command = {
  name: 'switchover',
  summary: 'switch over as soon as the budget is met',
  help: `Usage: blockferry switchover --control PATH [--migration ID]

For a migration that was started with --switchover manual or a date: from now on it switches over
as soon as its downtime budget is met. Does not wait for that.

${kRunningHelp}`,
  options: kRunningOptions,
  run: async (values, output) => {
    await ask(values, 'switchover', selection(values))
    output.event({ event: 'done' })
    output.line('the switchover happens as soon as the downtime budget is met')
    return kExit.done
  }
}
