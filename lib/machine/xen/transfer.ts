// How a domain's memory travels, at both ends.

export interface SourceTransfer {
  /** Begins to send to the Unix socket. */
  start (socket: string): Promise<void>
  /** Resolves with its last words when it ends and the machine was not handed over. */
  readonly failed: Promise<string>
  /** Bytes of memory so far. */
  sent (): Promise<number>
  /** Resolves when all of it is there, and this side's copy stays stopped whatever breaks. */
  handOver (): Promise<void>
  /** Ends it; the machine runs on here. Throws when that can't be had. */
  undo (): Promise<void>
  /** The machine runs there: removes what is left of it here. */
  release (): Promise<void>
  /** Lets go of it, as it is. */
  close (): void
}

export interface DestinationTransfer {
  /** Listens on a Unix socket at this path. */
  start (socket: string): Promise<void>
  /** Resolves when everything is here, and the machine could run. */
  untilHere (): Promise<void>
  /** Resolves when what was here is no more, without having been let run. Never after close(). */
  untilLost (): Promise<void>
  go (): Promise<void>
  /** Removes what is here, if it does not run. */
  undo (): Promise<void>
  /** Lets go of it, as it is. */
  close (): void
}
