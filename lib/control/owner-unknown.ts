import type { HostEvent } from './job.js'

/** Whether the owner of a migration's disks is unknown here after an event of it: the commit is
 * under way, or nobody has answered what came of it. `before`: the same before the event. */
export function ownerUnknownAfter (event: HostEvent, before: boolean): boolean {
  if (event.event === 'switchover') return event.step === 'commit'
  if (event.event === 'failed') return event.error.owner === 'unknown'
  return before && !['resumed', 'reconnecting', 'done'].includes(event.event)
}
