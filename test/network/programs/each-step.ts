// As if the process had been killed after each of the changes that a site makes: makes the first
// so many, removes what the state file says, and looks whether the host is as it was. Prints a line
// of JSON for each.
//
//   each-step OPTIONS
import { execFileSync } from 'node:child_process'

import { apply } from '../../../lib/network/undoable-changes.js'
import { checkRedirectOptions } from '../../../lib/network/redirect/options.js'
import { newPlan } from '../../../lib/network/redirect/plan-new.js'
import { oldPlan } from '../../../lib/network/redirect/plan-old.js'
import { stateOf } from '../../../lib/network/redirect/plan-state.js'
import { removeRedirect } from '../../../lib/network/redirect/remove.js'
import { listRedirects, writeState } from '../../../lib/network/redirect/state.js'
import { survey } from '../../../lib/network/redirect/host-survey.js'

const [json, look] = process.argv.slice(2) as [string, string]
const options = checkRedirectOptions(JSON.parse(json))

function snapshot (): string {
  return execFileSync('sh', ['-c', look], { encoding: 'utf8' })
}

const before = snapshot()
const around = await survey(options)
const plan = options.role === 'old' ? oldPlan(around) : newPlan(around)
const { prepare, switchOver } = plan
const changes = [...prepare.tunnel, ...prepare.stay, ...switchOver.tunnel, ...switchOver.stay]
const total = changes.length
for (let count = 0; count <= total; count++) {
  await writeState(options.runtimeFolder, stateOf(around, plan))
  for (const change of changes.slice(0, count)) await apply([change])
  const [state] = await listRedirects(options.runtimeFolder)
  await removeRedirect(state!, options.runtimeFolder)
  const left = await listRedirects(options.runtimeFolder)
  const asBefore = snapshot() === before && left.length === 0
  const last = count === 0 ? 'nothing' : JSON.stringify(changes[count - 1])
  process.stdout.write(`${JSON.stringify({ count, total, asBefore, last })}\n`)
}
