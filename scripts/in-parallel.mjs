// Runs what is to be run, as much at once as there is room.

import { availableParallelism } from 'node:os'

/** Of processors: one that waits most of the time leaves room for others. */
const room = availableParallelism()

/** Runs all in their order; each is { share, run }, `share` being of a processor (1). */
export async function runInParallel(jobs) {
  const left = [...jobs]
  let used = 0
  const running = new Set()
  while (left.length > 0 || running.size > 0) {
    const next = left.findIndex(({ share }) => running.size === 0 || used + share <= room)
    if (next < 0) {
      await Promise.race(running)
      continue
    }
    const [{ share, run }] = left.splice(next, 1)
    used += share
    const job = run().finally(() => {
      used -= share
      running.delete(job)
    })
    running.add(job)
  }
}
