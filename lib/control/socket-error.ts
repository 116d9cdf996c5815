// What the system says about a Unix socket, in our codes.
import type { ErrorCode } from '../errors.js'
import { BlockferryError } from '../errors.js'

const kCodes: Record<string, [ErrorCode, string]> = {
  EADDRINUSE: ['ADDRESS_IN_USE', 'is in use'],
  EACCES: ['NO_PERMISSION', 'is not for this user'],
  EPERM: ['NO_PERMISSION', 'is not for this user'],
  ENOENT: ['NOT_FOUND', 'does not exist'],
  ENOTDIR: ['NOT_FOUND', 'does not exist'],
  ENOTSOCK: ['INVALID', 'is no socket'],
  ECONNREFUSED: ['NOT_FOUND', 'is left over: no process listens on it'],
  EINVAL: ['INVALID', 'is no path for a socket (107 bytes at most)'],
  ENAMETOOLONG: ['INVALID', 'is no path for a socket (107 bytes at most)']
}

export function socketError (thrown: unknown, path: string): BlockferryError {
  const { code = '', errno = 0, message } = thrown as NodeJS.ErrnoException
  const [known, words] = kCodes[code] ?? ['IO_ERROR', `failed: ${message}`]
  return new BlockferryError(known, `${path} ${words}`, { errno: Math.abs(errno), cause: thrown })
}
