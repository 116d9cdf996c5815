// What redirect() asks of a name service: that new clients find the machine's new address.
//
// The order of the calls: prepare … switchOver … restoreTtl; undo instead of switchOver when the
// machine stays. switchOver may be called again after it has failed.

export interface NameService {
  /** Learns what the name has now and lowers its TTL, which also shows whether we may change it.
   * Refuses what would fail later. `from`: the machine's addresses, which the name has.
   * Errors: NETWORK (the server refuses), UNREACHABLE, TIMEOUT, UNSUPPORTED. */
  prepare (from: readonly string[]): Promise<void>
  /** The name gets the new addresses. */
  switchOver (): Promise<void>
  /** Everything has settled: the name has the new addresses, and the TTL that it had. */
  restoreTtl (): Promise<void>
  /** The name gets back what it had before prepare(), if anything was changed. */
  undo (): Promise<void>
  /** For how long from now resolvers may answer with the old address once the name has the new
   * one, ms. Known after prepare(). */
  readonly staleMs: number
  /** What a later process needs to go on, as JSON without secrets; null if none can. */
  state (): NameServiceState | null
}

export interface NameServiceState {
  kind: 'rfc2136' | 'dyndns2'
  options: unknown
  /** What prepare() learned; null before it. */
  learned: unknown
}
