// Every error that leaves the library: a stable code, who owns the disk, and whether what was
// copied is of use to a later attempt.

/** Stable; the words may change, these don't. The first group comes from the native core. */
export type ErrorCode =
  | 'INVALID' | 'NOT_FOUND' | 'IS_DIRECTORY' | 'BAD_SIZE' | 'TOO_SMALL' | 'READ_ONLY'
  | 'NO_PERMISSION' | 'BUSY' | 'NO_SPACE' | 'IO_ERROR' | 'SHORT_READ' | 'ADDRESS_IN_USE'
  | 'UNREACHABLE' | 'TIMEOUT' | 'PEER_GONE' | 'PROTOCOL' | 'VERSION' | 'CHECKSUM' | 'REFUSED'
  | 'NOT_EQUAL' | 'NO_MEMORY' | 'UNSUPPORTED' | 'CLOSED'
  /** One side speaks TLS, the other does not. */
  | 'TLS'
  /** The other side is not who it has to be, or says so of this one: a wrong key, a certificate of
   * an unknown CA, one that has expired or is for another name. */
  | 'UNAUTHORIZED'
  /** A tap in the kernel may have missed writes: its count is not that of the kernel's statistics. */
  | 'UNACCOUNTED'
  /** Another tool (lvresize, lvchange --refresh) has put its own table into a device that a 'dm' tap is
   * in: what was written since is not known. The disk works on; begin again. */
  | 'TABLE_CHANGED'
  /** The deadline passed before the downtime budget could be met. */
  | 'DEADLINE'
  /** The journal is damaged in its middle, or none of ours. */
  | 'JOURNAL'
  /** The user's abort, cancel or signal. */
  | 'CANCELLED'
  /** pause() or resume() of the machine failed. */
  | 'MACHINE'
  /** Setting up, switching or taking down the redirection of a machine's address failed. */
  | 'NETWORK'
  /** The link broke while the destination was deciding: it may own the disk, or not. */
  | 'OWNER_UNKNOWN'

/** Who may write to the disk after the error. `unknown`: start neither side before asking. */
export type Owner = 'source' | 'destination' | 'unknown'

export interface ErrorDetails {
  owner?: Owner
  resumable?: boolean
  errno?: number
  cause?: unknown
}

export class BlockferryError extends Error {
  override readonly name = 'BlockferryError'
  readonly code: ErrorCode
  /** Null where no migration was going on. */
  readonly owner: Owner | null
  /** What was copied is kept at the destination: a later attempt sends only what differs. */
  readonly resumable: boolean
  /** The system's error number behind it, 0 if none. */
  readonly errno: number

  constructor (code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? {} : { cause: details.cause })
    this.code = code
    this.owner = details.owner ?? null
    this.resumable = details.resumable ?? false
    this.errno = details.errno ?? 0
  }

  toJSON (): object {
    const { code, message, owner, resumable, errno } = this
    return { code, message, owner, resumable, errno }
  }
}

/** Makes a BlockferryError of whatever was thrown; what is one already gets the details it lacks. */
export function toBlockferryError (thrown: unknown, details: ErrorDetails = {}): BlockferryError {
  if (thrown instanceof BlockferryError && thrown.owner !== null) return thrown
  const error = thrown as Partial<BlockferryError> & Error
  const known = typeof error?.code === 'string' && typeof error.errno === 'number'
  const code = known ? error.code : isOutOfMemory(error) ? 'NO_MEMORY' : 'INVALID'
  const message = error instanceof Error ? error.message : String(thrown)
  return new BlockferryError(code, message, {
    errno: known ? error.errno : 0,
    cause: thrown,
    ...details
  })
}

/** What the addon's own calls throw where an operation that runs on a thread answers NO_MEMORY. */
function isOutOfMemory (error: unknown): boolean {
  return error instanceof Error && error.message === 'std::bad_alloc'
}
