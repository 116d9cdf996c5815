// The new site: what comes out of the tunnel reaches the machine, its answers go back through the
// tunnel, and it can be reached at an address of this site.
//
// Rules, in this order: to the machine's addresses: where it is. From them, marked as direct: as
// everything at this site. From them: into the tunnel. What concerns packets from the machine is
// there before it is: so its first packet is not led astray.
import { host, isLinkLocal } from '../addresses.js'
import type { Change } from '../undoable-changes.js'
import { addressTable, frameTable, kDirect } from './firewall.js'
import type { Family } from '../ip.js'
import type { Plan, Surroundings } from './plan.js'
import { answerFor, familiesOf, setting } from './plan.js'
import { tunnelPlan, into } from './plan-tunnel.js'

export function newPlan (around: Surroundings): Plan {
  const { options } = around
  const plan = tunnelPlan(around)
  const table = addressTable(around)
  if (table !== null) plan.prepare.stay.push(table)
  plan.prepare.stay.push(frameTable(around))
  for (const family of familiesOf(options)) addFamily(plan, around, family)
  return plan
}

function rule (family: Family, ...words: string[]): Change {
  return {
    kind: 'ip', family, add: ['rule', 'add', ...words], remove: ['rule', 'delete', ...words]
  }
}

function route (family: Family, ...words: string[]): Change {
  return {
    kind: 'ip', family, add: ['route', 'replace', ...words], remove: ['route', 'delete', ...words]
  }
}

function addFamily (plan: Plan, around: Surroundings, family: Family): void {
  const { options, base, spec } = around
  const { device } = options
  const address = options.addresses[family]!
  const [home, away] = [String(base), String(base + 1)]
  const from = ['iif', device, 'from', host(address)]
  // Not `replace`: of two processes that chose the same numbers one has to choose again.
  const back = ['route', 'add', 'default', ...into(around, family), 'table', away]
  plan.prepare.tunnel.push(
    { kind: 'ip', family, add: back },
    rule(family, ...from, 'fwmark', `${kDirect}/${kDirect}`, 'lookup', 'main', 'pref', away),
    rule(family, ...from, 'lookup', away, 'pref', String(base + 2)))
  plan.prepare.stay.push(route(family, host(address), 'dev', device, 'table', home))
  // The old site may be the first to switch: what it sends must not leave here for the world.
  const out = ['iif', spec.device, 'to', host(address)]
  plan.prepare.tunnel.push(rule(family, ...out, 'lookup', home, 'pref', home))
  plan.switchOver.stay.push(
    rule(family, 'to', host(address), 'lookup', home, 'pref', home),
    ...newAddress(around, family))
  addGateway(plan, around, family)
}

/** The new address is this host's, which translates it; or the machine's own, and this host
 * answers for it. */
function newAddress (around: Surroundings, family: Family): Change[] {
  const { options, uplink, base, settings } = around
  const fresh = options.newAddresses[family]
  if (fresh === null) return []
  if (options.by === 'nat') {
    const words = [host(fresh), 'dev', uplink]
    const quick = family === 6 ? ['nodad'] : []
    // With a strict rp_filter the kernel asks for the way back of what comes for the new address:
    // it must know from the mark that this is not the tunnel.
    const asksMark = `net/ipv4/conf/${uplink}/src_valid_mark`
    return [
      ...(family === 4 ? setting(settings, asksMark, '1') : []),
      {
        kind: 'ip',
        family,
        add: ['address', 'add', ...words, ...quick],
        remove: ['address', 'delete', ...words]
      }
    ]
  }
  // On the uplink's own network the machine answers for itself.
  if (uplink === options.device) return []
  const home = String(base)
  return [
    route(family, host(fresh), 'dev', options.device, 'table', home),
    rule(family, 'to', host(fresh), 'lookup', home, 'pref', home),
    ...answerFor(around, family, fresh, uplink)
  ]
}

/** This host takes the place of the router that the machine knows. While there is a tunnel, what
 * is for that router itself still goes to it. */
function addGateway (plan: Plan, around: Surroundings, family: Family): void {
  const { options, settings, present } = around
  const { device } = options
  const known = options.gateways[family]
  if (known === null) {
    const answers = `net/ipv4/conf/${device}/proxy_arp`
    if (family === 4) plan.switchOver.stay.push(...setting(settings, answers, '1'))
    return
  }
  if (present.has(known)) return
  const words = ['address', 'add', host(known), 'dev', device, ...(family === 6 ? ['nodad'] : [])]
  const own: Change = {
    kind: 'ip', family, add: words, remove: ['address', 'delete', host(known), 'dev', device]
  }
  // A link-local address is nobody's elsewhere. A machine with two addresses may ask from either.
  if (isLinkLocal(known) || options.by === 'guest') {
    plan.prepare.stay.push(own)
    return
  }
  plan.afterwards.push(own)
  plan.prepare.tunnel.push(...answerFor(around, family, known, device))
}
