// The old site: what comes for the machine's addresses goes into the tunnel.
//
// The host answers for the addresses where the machine did, and has a rule that sends what is for
// them into the tunnel, wherever it comes from. What comes out of the tunnel is the machine's and
// goes the usual way: here its addresses are at home.
import { host } from '../addresses.js'
import { frameTable } from './firewall.js'
import type { Plan, Surroundings } from './plan.js'
import { answerFor, familiesOf } from './plan.js'
import { tunnelPlan, into } from './plan-tunnel.js'

export function oldPlan (around: Surroundings): Plan {
  const { options, base } = around
  const plan = tunnelPlan(around)
  const { prepare: { tunnel: prepare }, switchOver: { tunnel: switchOver } } = plan
  switchOver.push(frameTable(around))
  for (const family of familiesOf(options)) {
    const address = options.addresses[family]!
    const table = String(base)
    const route = ['route', 'replace', host(address), ...into(around, family), 'table', table]
    prepare.push({ kind: 'ip', family, add: route })
    const rule = ['to', host(address), 'lookup', table, 'pref', table]
    switchOver.push(
      { kind: 'ip', family, add: ['rule', 'add', ...rule], remove: ['rule', 'delete', ...rule] },
      ...answerFor(around, family, address, options.device))
  }
  return plan
}
