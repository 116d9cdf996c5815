// Runs what is to be run, as much at once as there is room.

import { availableParallelism } from 'node:os'

/** Of processors: one that waits most of the time leaves room for others. */
const room = availableParallelism()

/** Begins all in their order, each as soon as there is room; each is { share, run }, `share` being of a
 * processor (1). */
export async function runInParallel (jobs) {
  let used = 0
  const running = new Set()
  for (const { share, run } of jobs) {
    while (running.size > 0 && used + share > room) await Promise.race(running)
    used += share
    const job = run().finally(() => {
      used -= share
      running.delete(job)
    })
    running.add(job)
  }
  await Promise.all(running)
}
