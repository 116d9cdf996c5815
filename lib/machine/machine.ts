// What a migration asks of the machine whose disk moves.
//
// The source's machine is paused for the switchover and, when that fails, resumed; the
// destination's is resumed when the destination owns the disk. Each call resolves when it is
// done; what it throws fails the migration (MACHINE) and leaves the source in charge, except
// resume() at the destination, where the disk has moved already.
export interface Machine {
  /** Stops the machine: after this nothing but the tap's clients' last requests are in flight. */
  pause? (): Promise<void> | void
  /** Lets it run (again). */
  resume? (): Promise<void> | void
}
