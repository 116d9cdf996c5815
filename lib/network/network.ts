// What a migration asks of the network: to take the machine's connections along.
//
// Each call resolves when it is done. migrate() holds the one of the old site, receive() the one of
// the new site; either may have none. The order of the calls, `→` being the other site:
//
//   prepare → prepare → verify … (everything is copied, the commit) … switchOver, → switchOver
//
// and undo when the migration fails before its commit. When the link is lost and the migration goes
// on over another connection, the old site stays prepared; the new site's is undone and prepared
// again, and verify is called once more. What fails after the commit does not undo the machine's
// move: it is told, with the destination as the owner.

/** Hooks of one's own are enough: an object with these. */
export interface Network {
  /** Sets up all that changes nothing yet; refuses what can't work, and says how it could. Leaves
   * nothing behind when it fails. */
  prepare (): Promise<void> | void
  /** Old site, when the new site has prepared, too: does it work between the two? */
  verify? (): Promise<void> | void
  /** The machine is at the new site. Called once, as soon as this site knows. */
  switchOver (): Promise<void> | void
  /** The machine stays at the old site: removes all that was set up. Called after a prepare() that
   * succeeded; prepare() may be called again after it. */
  undo (): Promise<void> | void
}
