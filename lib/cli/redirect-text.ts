// A redirection in a line, for `redirect --list` and `status`, and what happens to one.
import { isAlive } from '../base/process-identity.js'
import type { RedirectEvent } from '../network/redirect/events.js'
import type { RedirectState } from '../network/redirect/state.js'

const kPhases = {
  preparing: 'being prepared',
  prepared: 'prepared',
  switching: 'being switched over',
  switched: 'in use',
  settled: 'settled: the tunnel has gone, the new address stays'
}

export function redirectText (state: RedirectState): string {
  const { id, role, phase, addresses, newAddresses, tunnel, connection, caretaker } = state
  const to = newAddresses.length === 0 ? '' : ` as ${newAddresses.join(', ')}`
  const way = role === 'old' ? 'to' : 'from'
  const still = connection === null ? '' : ', and no packet passes'
  const alone = phase === 'settled' || isAlive(caretaker) ? '' : `, nobody looks after it${still}`
  return `redirection ${id} of ${addresses.join(', ')}${to} ${way} ${tunnel.remote} ` +
    `(${tunnel.kind}): ${kPhases[phase]}${alone}`
}

/** What happens to one, in a line. */
export function redirectEventText (event: RedirectEvent): string {
  switch (event.event) {
    case 'prepared': return `redirection ${event.id}: prepared, ${event.tunnel.kind} ` +
      `${event.tunnel.device}, packets of ${event.tunnel.mtu} bytes`
    case 'verified': return 'the tunnel works'
    case 'connection': return event.error === null
      ? 'the tunnel\'s connection is there'
      : `the tunnel's connection is lost, another attempt follows: ${event.error.message}`
    case 'switched': return 'packets go the new way'
    case 'name': return event.error === null
      ? 'the name has the new address'
      : `the name has not changed, another attempt follows: ${event.error.message}`
    case 'connections': return event.count === null
      ? 'the connections can\'t be counted here: the tunnel stays until the deadline'
      : `connections that use the old address: ${event.count}`
    case 'ended': return `the tunnel has gone: ${event.reason}`
    case 'left': return 'the tunnel stays, and nobody looks after it: blockferry redirect ' +
      `--watch ${event.id}`
    case 'failed': return `failed: ${event.error.message}`
  }
}
