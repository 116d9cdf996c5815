// blockferry set: change the budgets of a running migration.
import * as args from './args.js'
import type { Command } from './command.js'
import { UsageError } from './usage-error.js'
import { kExit } from './exit-codes.js'
import { ask, kRunningHelp, kRunningOptions, selection } from './running.js'

export const set: Command = {
  name: 'set',
  summary: 'change the budgets of a running migration',
  help: `Usage: blockferry set --control PATH [--migration ID] BUDGET …

Changes what is named from now on; the rest stays.

${args.kBudgetHelp}
${kRunningHelp}`,
  options: { ...kRunningOptions, ...args.kBudgetOptions },
  run: async (values, output) => {
    const budgets = args.budgets(values)
    if (Object.keys(budgets).length === 0) {
      throw new UsageError(
        '--downtime, --write-latency, --deadline or --bandwidth: one of them is needed')
    }
    await ask(values, 'set', { ...selection(values), budgets })
    output.event({ event: 'done' })
    const changes = Object.entries(budgets).map(([name, value]) => `${name} ${value}`)
    output.line(`set: ${changes.join(', ')}`)
    return kExit.done
  }
}
