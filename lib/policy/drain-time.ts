// How long until the dirty bytes are down to the residual allowed.
//
// The sender runs without barriers, so the dirty bytes Q follow
//
//   dQ/dt = −b + w · (1 − a(Q))    b = B/c content bytes/s, w the writers' demand,
//                                  a: the share of it that hits blocks still dirty
//
// A uniform writer over a working set W has a = Q/W: a falls with Q in proportion. A skewed one
// whose hot blocks are sent last loses less than that. So a(Q) = a₀·Q/Q₀ never promises too much.

export interface Drain {
  /** Dirty now, content bytes. */
  dirty: number
  /** What it has to come down to, content bytes. */
  target: number
  /** b, content bytes/s. */
  capacity: number
  /** w: unique bytes/s that would be dirtied if no block were dirty. */
  demand: number
  /** Of them, bytes/s that are dirtied now. */
  dirtied: number
}

/** ms until `target` is reached; Infinity when it never is. */
export function drainTime ({ dirty, target, capacity, demand, dirtied }: Drain): number {
  if (dirty <= target) return 0
  if (capacity <= 0) return Infinity
  const absorbed = Math.max(0, demand - dirtied) / dirty
  const first = capacity - demand + absorbed * dirty
  const last = capacity - demand + absorbed * target
  if (first <= 0 || last <= 0) return Infinity
  const steady = Math.abs(first - last) < 1e-6 * first
  return 1000 * (steady ? (dirty - target) / first : Math.log(first / last) / absorbed)
}
