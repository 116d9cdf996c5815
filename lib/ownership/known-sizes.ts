// How large disks are that lie on larger storage, as a journal has it.
import { existsSync } from 'node:fs'

import { Journal } from './journal.js'

/** Bytes by name. Errors: see Journal.open(). */
export async function knownSizes (
  journal: Journal | string | null, disks: ReadonlyArray<{ name: string, source: unknown }>
): Promise<Map<string, number>> {
  const names = disks.filter(({ source }) => typeof source === 'string').map(({ name }) => name)
  if (journal === null || names.length === 0) return new Map()
  if (journal instanceof Journal) return sizesIn(journal, names)
  if (!existsSync(journal)) return new Map()
  await using opened = await Journal.open(journal)
  return sizesIn(opened, names)
}

function sizesIn (journal: Journal, names: readonly string[]): Map<string, number> {
  return new Map(names.flatMap((name) => {
    const size = journal.sizeOf(name)
    return size === null ? [] : [[name, size] as const]
  }))
}
