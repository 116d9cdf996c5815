// --redirect of send and receive.
import { BlockferryError } from '../base/errors.js'
import type { RedirectFile } from '../network/redirect/file.js'
import { optionsIn, readRedirectFile } from '../network/redirect/file.js'
import { text } from './args.js'
import type { Values } from './command.js'
import { UsageError } from './usage-error.js'

export const kRedirectHelp =
  `  --redirect FILE        with --control: its address changes, its connections go along:
                         through a tunnel, by a name that changes. FILE is JSON, the same at both
                         sites; the README shows one`

/** --redirect, if it was given: what is in the file, which is looked at from this site. */
export async function redirectFile (
  values: Values, role: 'old' | 'new'
): Promise<{ redirect?: RedirectFile }> {
  const path = text(values, 'redirect')
  if (path === undefined) return {}
  try {
    const redirect = await readRedirectFile(path)
    optionsIn(redirect, role)
    return { redirect }
  } catch (error) {
    if (!(error instanceof BlockferryError)) throw error
    throw new UsageError(`--redirect: ${error.message}`)
  }
}
