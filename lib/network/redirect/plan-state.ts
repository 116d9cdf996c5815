// A plan as the state file holds it: all that may exist from the first change on.
import { listOf } from '../addresses.js'
import { ownIdentity } from '../../base/process-identity.js'
import type { Plan, Surroundings } from './plan.js'
import type { RedirectState } from './state.js'

export function stateOf ({ options, spec, backend, mtu }: Surroundings, plan: Plan): RedirectState {
  const { id, role, addresses, newAddresses, quietMs, deadlineMs, pollMs } = options
  const { device, local, remote, inner } = spec
  return {
    version: 2,
    id,
    role,
    phase: 'preparing',
    addresses: listOf(addresses),
    newAddresses: listOf(newAddresses),
    tunnel: { kind: backend.kind, device, local, remote, mtu },
    connection: backend.connection?.(spec) ?? null,
    inner,
    caretaker: ownIdentity(),
    preparedAt: new Date().toISOString(),
    switchedAt: null,
    quietMs,
    deadlineMs,
    pollMs,
    tunnelChanges: [...plan.prepare.tunnel, ...plan.switchOver.tunnel],
    stayChanges: [...plan.prepare.stay, ...plan.switchOver.stay],
    afterChanges: plan.afterwards,
    dns: null
  }
}
