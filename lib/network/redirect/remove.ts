// Takes a redirection away, from what its state file says.
import { toBlockferryError } from '../../base/errors.js'
import { kRuntimeFolder } from '../../base/runtime-folder.js'
import { remove } from '../undoable-changes.js'
import type { NameService } from '../dns/name-service.js'
import { restoreNameService } from '../dns/restore.js'
import type { RedirectState } from './state.js'
import { isInUse, neededByOthers, removeState } from './state.js'

/** Removes what is left of a redirection, in whatever state it is: also what a killed process left.
 * The name gets back its old address if packets were not redirected yet, else only its TTL. A
 * process that still looks after it notices.
 *
 * Errors: NETWORK, NO_PERMISSION when something could not be removed: then the rest of it is in the
 * list still. */
export async function removeRedirect (
  state: RedirectState, folder: string = kRuntimeFolder, own: NameService | null = null
): Promise<void> {
  let failed: unknown = null
  const attempt = async (step: () => Promise<void>) => {
    await step().catch((error: unknown) => { failed ??= error })
  }
  await attempt(async () => {
    const needed = await neededByOthers(folder, state)
    await remove([...state.stayChanges, ...state.tunnelChanges], needed)
  })
  const dns = own ?? (state.dns === null ? null : restoreNameService(state.dns))
  // Once it has settled nothing is left to be done, and the name may have changed since.
  if (dns !== null && state.phase !== 'settled') {
    await attempt(() => isInUse(state) ? dns.restoreTtl() : dns.undo())
  }
  if (failed !== null) throw toBlockferryError(failed)
  await removeState(folder, state.id, state.role)
}
