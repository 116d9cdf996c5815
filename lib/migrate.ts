import { Migration } from './source/migration.js'
import type { MigrateOptions } from './source/options.js'

/**
 * Moves disks to a receive() elsewhere while their writers go on, and switches over when the
 * downtime budget can be met.
 *
 * The result is a promise of the report and a stream of events; it also takes commands (pause,
 * resume, setLimits, switchover, cancel). It rejects with a BlockferryError that says who owns
 * the disks; unless that is the destination or unknown, the source runs on as before.
 */
export function migrate (options: MigrateOptions): Migration {
  return new Migration(options)
}
