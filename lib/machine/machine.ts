// What a migration asks of the machine whose disks move.
//
// Each call resolves when it is done. What one throws fails the migration (MACHINE) and leaves the
// source in charge, except resume() at the destination, where the machine has moved already.

/** Hooks of one's own are enough for a writer that can be stopped: an object with these two. */
export interface Machine {
  /** Source: stops the machine. After this nothing but the tap's clients' last requests are in
   * flight. */
  pause? (): Promise<void> | void
  /** Lets it run: at the source again, after a switchover that failed; at the destination when it
   * owns the disks. At the source it must also end a transfer of memory that was begun. */
  resume? (): Promise<void> | void
  /** For a side whose migration's process was killed, from a new one: lets the machine go on where it
   * waits for that, or removes it, by who owns its disks. False: nothing of it is left. */
  resolveLeftover? (isHere: boolean): Promise<boolean>
}

/**
 * A machine whose memory moves, too. The order of the calls, `→` being the other side:
 *
 *   source: prepare → expect … (the disks are copied) … → receiveMemory, sendMemory,
 *   memoryProgress and allowPause again and again, untilPaused, finishMemory → untilArrived,
 *   resume; then release, and close on both sides
 *
 * and at any time after prepare or expect, when the migration fails: resume at the source, → discard,
 * close on both sides. When nobody knows who owns the disks, only close.
 */
export interface MemoryMachine extends Machine {
  /** Source, before anything is copied: refuses what can't work, and resolves with what the other
   * side has to know (JSON). */
  prepare (): Promise<MachineDescription>
  /** Source: begins to send memory to the Unix socket on which the migration listens. */
  sendMemory (socket: string): Promise<void>
  memoryProgress (): Promise<MemoryProgress>
  /** Source: how long the machine may be paused for what is left of its memory, and how fast that
   * will go. 0 ms: not yet, go on sending. Without it the hypervisor itself decides when it pauses the
   * machine, and does so in any case. */
  allowPause? (limits: PauseLimits): Promise<void>
  /** Source: makes the machine dirty less memory by giving it less of the processor, until it is
   * taken back. */
  slowDown? (on: boolean): Promise<void>
  /** Source: resolves when the machine has paused itself, with the rest of its memory still here. */
  untilPaused (): Promise<void>
  /** Source: sends the rest; resolves when the hypervisor has handed all of it over. */
  finishMemory (): Promise<void>
  /** Source: false when somebody else has paused the machine: then it stays so where it goes. */
  readonly running: boolean
  /** Source: it goes on here by itself if the migration's process dies before finishMemory() has
   * resolved, so its disks stay its own until then. Default: it stays paused. */
  readonly goesOnByItself?: boolean
  resume (): Promise<void>
  /** Source: the machine runs at the destination: what is left of it here can go. */
  release? (): Promise<void>

  /** Destination: it opens the disks' storage itself, and sees all of it: so that must be as large as the
   * disks. Default: it is served, or nobody knows. */
  readonly opensDisks?: boolean
  /** Destination: refuses what can't work with a machine like that. */
  expect (description: MachineDescription): Promise<void>
  /** Destination: listens for the memory on a Unix socket at this path. */
  receiveMemory (socket: string): Promise<void>
  /** Destination: resolves when everything is here and the machine could run. */
  untilArrived (): Promise<void>
  /** Destination: the machine does not come: what has come of it can go. */
  discard? (): Promise<void>

  /** Resolves with the reason when the hypervisor is gone, from prepare() or expect() on: then there
   * is no use in going on. Never after close(). */
  untilGone? (): Promise<Error>

  /** Lets go of the hypervisor, which goes on as it is. Idempotent. */
  close (): Promise<void>
}

/** What has to agree on both sides. */
export interface MachineDescription {
  /** The kind of machine: 'qemu', 'xen'. */
  kind: string
  /** The size of the memory, bytes; it counts in the forecast. */
  memory: number
  /** How many of its network devices are on no bridge here: more there would not find its
   * neighbours. Not said where that is not known, or its network moves, too. */
  unbridged?: number
  [detail: string]: string | number | boolean | undefined
}

export interface MemoryProgress {
  /** Bytes of memory that still have to be sent. */
  remaining: number
  /** All of the memory, bytes. */
  size: number
  /** Bytes a second that the machine dirties; null while that is not known. */
  dirtyRate: number | null
  /** Passes over the memory so far. */
  passes: number
  /** The share of the processor's time that the hypervisor takes from the machine to make it
   * dirty less, 0 to 1. */
  throttle: number
}

export interface PauseLimits {
  /** ms. */
  downtimeMs: number
  /** Memory bytes a second, before compression. */
  bytesPerSecond: number
}

export function isMemoryMachine (machine: Machine): machine is MemoryMachine {
  return typeof (machine as Partial<MemoryMachine>).sendMemory === 'function'
}
