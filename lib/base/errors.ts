// Every error that leaves the library: a stable code, who owns the disk, and whether what was
// copied is of use to a later attempt.
import type { ErrorCode } from './error-codes.js'
import { isErrorCode } from './error-codes.js'

export type { ErrorCode }

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

/** Of the system's errors, as Node names them; others are IO_ERROR. As in native/core/base/status.cc. */
const kSystemCodes = new Map<string, ErrorCode>(Object.entries<ErrorCode>({
  ENOENT: 'NOT_FOUND', ENODEV: 'NOT_FOUND', ENXIO: 'NOT_FOUND', ENOTDIR: 'NOT_FOUND', ENOTFOUND: 'NOT_FOUND',
  EISDIR: 'IS_DIRECTORY',
  EROFS: 'READ_ONLY',
  EACCES: 'NO_PERMISSION', EPERM: 'NO_PERMISSION',
  EBUSY: 'BUSY', ETXTBSY: 'BUSY', EAGAIN: 'BUSY',
  ENOSPC: 'NO_SPACE', EDQUOT: 'NO_SPACE', EFBIG: 'NO_SPACE',
  EADDRINUSE: 'ADDRESS_IN_USE',
  ECONNREFUSED: 'UNREACHABLE', EHOSTUNREACH: 'UNREACHABLE', ENETUNREACH: 'UNREACHABLE', EADDRNOTAVAIL: 'UNREACHABLE',
  ETIMEDOUT: 'TIMEOUT',
  ECONNRESET: 'PEER_GONE', EPIPE: 'PEER_GONE', ECONNABORTED: 'PEER_GONE', ENOTCONN: 'PEER_GONE',
  ENOMEM: 'NO_MEMORY', EMFILE: 'NO_MEMORY', ENFILE: 'NO_MEMORY',
  EINVAL: 'INVALID', ENAMETOOLONG: 'INVALID',
  EOPNOTSUPP: 'UNSUPPORTED', ENOSYS: 'UNSUPPORTED'
}))

/** Makes a BlockferryError of whatever was thrown; what is one already gets the details it lacks. What nobody
 * has foreseen is INTERNAL. */
export function toBlockferryError (thrown: unknown, details: ErrorDetails = {}): BlockferryError {
  if (thrown instanceof BlockferryError && thrown.owner !== null) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new BlockferryError(codeOf(thrown), message, { errno: errnoOf(thrown), cause: thrown, ...details })
}

function codeOf (thrown: unknown): ErrorCode {
  const { code } = (thrown ?? {}) as { code?: unknown }
  if (isErrorCode(code)) return code
  // What the addon's own calls throw where an operation that runs on a thread answers NO_MEMORY.
  if (thrown instanceof Error && thrown.message === 'std::bad_alloc') return 'NO_MEMORY'
  const isSystem = typeof code === 'string' && typeof (thrown as { errno?: unknown }).errno === 'number'
  return isSystem ? kSystemCodes.get(code) ?? 'IO_ERROR' : 'INTERNAL'
}

/** As the addon tells it: above 0. Node's are below. */
function errnoOf (thrown: unknown): number {
  const { errno } = (thrown ?? {}) as { errno?: unknown }
  return typeof errno === 'number' ? Math.abs(errno) : 0
}
