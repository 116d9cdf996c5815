import { BlockferryError } from './base/errors.js'
import type { MigrateOptions } from './source/options.js'
import { Migration } from './source/migration.js'
import { optionsOf } from './source/plan.js'
import { Journal } from './ownership/journal.js'

/** What the journal does not hold: taps, keys, the machine, the network, a shared bandwidth,
 * signals; and whatever is to be otherwise than it was. A disk that is not given is opened by its
 * path: nobody may write it. */
export type ResumeOptions = Partial<Omit<MigrateOptions, 'journal'>>

/**
 * Goes on with the last migration out of this host that a journal knows, after a crash of this
 * process or the other side's. What the destination has is not sent again; with a map file (see
 * TapOptions) what has not changed is not even read.
 *
 * As migrate(); it rejects also with NOT_FOUND (the journal knows of none), JOURNAL, and with REFUSED
 * when the disks are not, or may not be, owned here: then recover() says more.
 */
export function resume (journal: string | Journal, options: ResumeOptions = {}): Migration {
  return new Migration(lastOptions(journal, options))
}

async function lastOptions (journal: string | Journal, given: ResumeOptions): Promise<MigrateOptions> {
  if (journal instanceof Journal) return optionsFrom(journal, given, journal)
  await using opened = await Journal.open(journal)
  return optionsFrom(opened, given, journal)
}

function optionsFrom (
  journal: Journal, given: ResumeOptions, as: string | Journal
): MigrateOptions {
  const plan = journal.lastPlan()
  if (plan === null) {
    throw new BlockferryError('NOT_FOUND', `${journal.path} knows of no migration that could go on`)
  }
  return optionsOf(plan, given, as)
}
