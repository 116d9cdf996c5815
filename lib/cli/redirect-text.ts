// A redirection in a line, for `redirect --list` and `status`.
import { isAlive } from '../network/keeper.js'
import type { RedirectState } from '../network/state.js'

const kPhases = {
  preparing: 'being prepared',
  prepared: 'prepared',
  switching: 'being switched over',
  switched: 'in use',
  settled: 'settled: the tunnel has gone, the new address stays'
}

export function redirectText (state: RedirectState): string {
  const { id, role, phase, addresses, newAddresses, tunnel, keeper } = state
  const to = newAddresses.length === 0 ? '' : ` as ${newAddresses.join(', ')}`
  const way = role === 'old' ? 'to' : 'from'
  const alone = phase === 'settled' || isAlive(keeper) ? '' : ', nobody looks after it'
  return `redirection ${id} of ${addresses.join(', ')}${to} ${way} ${tunnel.remote} ` +
    `(${tunnel.kind}): ${kPhases[phase]}${alone}`
}
