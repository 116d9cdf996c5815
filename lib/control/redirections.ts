// The redirections of a process: each outlives the migration that it belongs to.
import type { RedirectEvent } from '../network/redirect/events.js'
import type { Redirect } from '../network/redirect/redirect.js'
import { redirect } from '../network/redirect/redirect.js'
import type { RedirectFile } from '../network/redirect/file.js'
import { optionsIn } from '../network/redirect/file.js'

export class Redirections {
  readonly #sites = new Set<Redirect>()

  /** For a migration that begins; null when none was asked for. INVALID. */
  open (
    file: RedirectFile | undefined, role: 'old' | 'new', tell: (event: RedirectEvent) => void
  ): Redirect | null {
    if (file === undefined) return null
    const site = redirect(optionsIn(file, role))
    this.#sites.add(site)
    void this.#follow(site, tell)
    return site
  }

  async #follow (site: Redirect, tell: (event: RedirectEvent) => void): Promise<void> {
    for await (const event of site) tell(event)
    this.#sites.delete(site)
  }

  /** The migration is over: what is in use stays until its tunnel goes. */
  release (site: Redirect | null): void {
    if (site !== null && !site.inUse) site.close()
  }

  /** What is in use is left as it is. */
  close (): void {
    for (const site of this.#sites) site.close()
  }
}
