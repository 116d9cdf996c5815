// The link broke when the destination had been told to decide: what came of the switchover.
import type { NativeSender, NativeTrust } from '../native/types.js'
import { askLimitMs } from '../session/time-limits.js'
import type { Digests } from '../session/report.js'
import { askOutcome } from './ask-outcome.js'
import type { CheckedMigrateOptions } from './options.js'

/** null: it did not commit. OWNER_UNKNOWN when it does not answer. */
export async function committedAfterBreak (
  migration: string, { host, port, linkTimeoutMs, disks }: CheckedMigrateOptions, tls: NativeTrust,
  sender: NativeSender
): Promise<Digests | null> {
  const source = disks.map((_disk, index) => sender.digest(index))
  const { committed, digests } = await askOutcome({
    host, port, tls, migration, linkTimeoutMs, patienceMs: askLimitMs(linkTimeoutMs)
  })
  return committed ? { destination: digests, source } : null
}
