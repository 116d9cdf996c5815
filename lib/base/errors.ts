// Every error that leaves the library: a stable code, who owns the disk, and whether what was
// copied is of use to a later attempt.
import { constants } from 'node:os'

import type { ErrorCode } from './error-codes.js'
import { isErrorCode } from './error-codes.js'

export type { ErrorCode }

const { errno: numbers } = constants

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

/** Of the system's errors; others are IO_ERROR. As in native/core/base/status.cc. */
const kSystemCodes: ReadonlyArray<[ErrorCode, readonly (keyof typeof numbers)[]]> = [
  ['NOT_FOUND', ['ENOENT', 'ENODEV', 'ENXIO', 'ENOTDIR']],
  ['IS_DIRECTORY', ['EISDIR']],
  ['READ_ONLY', ['EROFS']],
  ['NO_PERMISSION', ['EACCES', 'EPERM']],
  ['BUSY', ['EBUSY', 'ETXTBSY', 'EAGAIN']],
  ['NO_SPACE', ['ENOSPC', 'EDQUOT', 'EFBIG']],
  ['ADDRESS_IN_USE', ['EADDRINUSE']],
  ['UNREACHABLE', ['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL']],
  ['TIMEOUT', ['ETIMEDOUT']],
  ['PEER_GONE', ['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ENOTCONN']],
  ['NO_MEMORY', ['ENOMEM', 'EMFILE', 'ENFILE']],
  ['INVALID', ['EINVAL', 'ENAMETOOLONG']],
  ['UNSUPPORTED', ['EOPNOTSUPP', 'ENOSYS']]
]

const kOfNumbers = new Map(kSystemCodes.flatMap(([code, names]) => names.map((name) => [numbers[name], code] as const)))

/** Makes a BlockferryError of whatever was thrown; what is one already gets the details it lacks. What nobody
 * has foreseen is INTERNAL. */
export function toBlockferryError (thrown: unknown, details: ErrorDetails = {}): BlockferryError {
  if (thrown instanceof BlockferryError && thrown.owner !== null) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new BlockferryError(codeOf(thrown), message, { errno: errnoOf(thrown), cause: thrown, ...details })
}

function codeOf (thrown: unknown): ErrorCode {
  const { code, errno } = (thrown ?? {}) as { code?: unknown, errno?: unknown }
  if (isErrorCode(code)) return code
  // What the addon's own calls throw where an operation that runs on a thread answers NO_MEMORY.
  if (thrown instanceof Error && thrown.message === 'std::bad_alloc') return 'NO_MEMORY'
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'UNREACHABLE'
  if (typeof errno === 'number') return kOfNumbers.get(Math.abs(errno)) ?? 'IO_ERROR'
  // Of a file that was closed; Node's own mistakes are ERR_…
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? 'IO_ERROR' : 'INTERNAL'
}

/** Of what another process says; it may be of a version that has other codes. */
export function codeSaid (code: unknown): ErrorCode {
  return isErrorCode(code) ? code : 'VERSION'
}

/** As the addon tells it: above 0. Node's are below. */
function errnoOf (thrown: unknown): number {
  const { errno } = (thrown ?? {}) as { errno?: unknown }
  return typeof errno === 'number' ? Math.abs(errno) : 0
}
