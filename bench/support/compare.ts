// Equality of whole devices.

import { run } from '../../testbed/support/command.js'

/** Whether two files or devices hold the same bytes, from the first to the last. */
export async function areEqual (one: string, other: string): Promise<boolean> {
  return run('cmp', '--', one, other).then(
    () => true,
    (error: { code?: unknown }) => {
      if (error.code === 1) return false
      throw error
    }
  )
}
