// When the tunnel may go: a pure decision. The clock is the caller's.

export interface TunnelUse {
  /** ms, of one clock. */
  now: number
  switchedAt: number
  /** When a connection was last seen to use the old address; the switchover, if none was. */
  lastUsedAt: number
  /** Connections that use the old address now; null: can't be known here. */
  connections: number | null
  /** How long resolvers may send new clients to the old address after the switchover, ms. */
  staleMs: number
  quietMs: number
  deadlineMs: number
}

/** 'unused': nobody uses the old address any more, and nobody is going to. Null: not yet. */
export function tunnelEnd (use: TunnelUse): 'unused' | 'deadline' | null {
  const { now, switchedAt, lastUsedAt, connections, staleMs, quietMs, deadlineMs } = use
  if (now - switchedAt >= deadlineMs) return 'deadline'
  if (connections !== 0) return null
  return now - switchedAt >= staleMs && now - lastUsedAt >= quietMs ? 'unused' : null
}
