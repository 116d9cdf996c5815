// A redirection in a line, for `redirect --list` and `status`.
import type { RedirectState } from '../network/state.js'

const kPhases = {
  preparing: 'being prepared',
  prepared: 'prepared',
  switching: 'being switched over',
  switched: 'in use',
  settled: 'settled: the tunnel has gone, the new address stays'
}

export function redirectText (state: RedirectState): string {
  const { id, role, phase, addresses, newAddresses, tunnel, pid } = state
  const to = newAddresses.length === 0 ? '' : ` as ${newAddresses.join(', ')}`
  const way = role === 'old' ? 'to' : 'from'
  const keeper = phase === 'settled' || isAlive(pid) ? '' : ', nobody looks after it'
  return `redirection ${id} of ${addresses.join(', ')}${to} ${way} ${tunnel.remote} ` +
    `(${tunnel.kind}): ${kPhases[phase]}${keeper}`
}

function isAlive (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
