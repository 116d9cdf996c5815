// The link broke when the destination had been told to decide: what came of the switchover.
import type { NativeSender, NativeTrust } from '../native/types.js'
import type { Digests } from '../session/report.js'
import { askOutcome } from './ask-outcome.js'
import type { CheckedMigrateOptions } from './options.js'

/** How often the link's time limit the destination has to answer. */
const kPatience = 3

/** null: it did not commit. OWNER_UNKNOWN when it does not answer. */
export async function committedAfterBreak (
  migration: string, { host, port, linkTimeoutMs, disks }: CheckedMigrateOptions, tls: NativeTrust,
  sender: NativeSender
): Promise<Digests | null> {
  const source = disks.map((_disk, index) => sender.digest(index))
  const { committed, digests } = await askOutcome({
    host, port, tls, migration, linkTimeoutMs, patienceMs: kPatience * linkTimeoutMs
  })
  return committed ? { destination: digests, source } : null
}
