// What a migration tells when it is over.

/** Milliseconds of the downtime, in order. `downtimeMs` is their sum: from the call of pause()
 * until the word that the destination owns the disks has come back. */
export interface DowntimePhases {
  /** The machine's pause(); 0 for one that pauses itself when its memory is nearly through. */
  pause: number
  /** Until the writes in flight were finished. */
  drain: number
  /** Until the residual, and the rest of the memory, was handed to the network. */
  residual: number
  /** Until the destination had flushed, compared, taken the memory in and answered. */
  commit: number
}

export interface ByteCounts {
  /** The disk's size. */
  disk: number
  /** Content sent as data, before compression. */
  sent: number
  /** Bytes on the wire for it. */
  wire: number
  /** Content that was zeroes and needed no sending. */
  zero: number
  /** Content that the destination held already. */
  same: number
}

export interface MemoryBytes {
  /** What the hypervisor sent. */
  sent: number
  /** Bytes on the wire for it. */
  wire: number
}

export interface DiskReport {
  name: string
  /** Over the last link, when one was lost. */
  bytes: ByteCounts
  /** Unique dirty bytes: a second (the mean over the migration), and in all. */
  dirty: { rate: number, bytes: number }
  /** Imposed on this disk's writers: the delay is summed over the writes. */
  throttle: { delayMs: number, writesDelayed: number }
  /** Both sides have the same digest, re-read at the destination. Null when not compared. */
  equal: boolean | null
  digest: { source: string, destination: string } | null
  /** Writes at the source are refused: as long as its own tap stays open ('nbd'), or until it is recovered
   * ('dm'). False: nothing keeps anybody from writing there. */
  refused: boolean
}

/** Of each disk, in the order of the offer. */
export interface Digests { source: string[], destination: string[] }

export interface Report {
  migration: string
  durationMs: number
  downtimeMs: number
  downtime: DowntimePhases
  /** Passes over the dirty map; the bulk copy is the first. */
  rounds: number
  bytes: ByteCounts
  /** Unique dirty bytes a second, the mean over the migration. */
  dirty: { rate: number, bytes: number }
  /** Of the machine's memory; null when none went this way. */
  memory: MemoryBytes | null
  /** Wire bytes a second, memory included, the mean over the migration. */
  rate: number
  throttle: {
    /** Imposed, summed over the writes. */
    delayMs: number
    writesDelayed: number
    /** How long the throttle was on. */
    activeMs: number
  }
  /** Switchovers that were begun. */
  attempts: number
  equal: boolean | null
  digest: { source: string, destination: string } | null
  disks: DiskReport[]
}

export interface DestinationReport {
  migration: string
  durationMs: number
  bytes: { disk: number, sent: number, wire: number, zero: number }
  equal: boolean | null
  digest: string | null
  /** `bytes`: of the disk; `capacity`: what the destination has, more where that was larger. To serve it again, or
   * to move it on, by its path needs the size (TapOptions.size), unless a journal has it. */
  disks: Array<{ name: string, destination: string, bytes: number, capacity: number, digest: string | null }>
}

/** The sum of 64-bit digests in hexadecimal: the digest of several disks as one. */
export function sumDigests (digests: readonly string[]): string {
  const sum = digests.reduce((total, digest) => total + BigInt(`0x${digest}`), 0n)
  return BigInt.asUintN(64, sum).toString(16).padStart(16, '0')
}
