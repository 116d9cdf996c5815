// What the system says about a Unix socket, in our codes.
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'

import type { ErrorCode } from '../base/errors.js'
import { BlockferryError } from '../base/errors.js'

const kCodes: Record<string, [ErrorCode, string]> = {
  EADDRINUSE: ['ADDRESS_IN_USE', 'is in use'],
  EACCES: ['NO_PERMISSION', 'is not for this user'],
  EPERM: ['NO_PERMISSION', 'is not for this user'],
  ENOENT: ['NOT_FOUND', 'does not exist'],
  ENOTDIR: ['NOT_FOUND', 'does not exist'],
  ENOTSOCK: ['INVALID', 'is no socket'],
  ECONNREFUSED: ['NOT_FOUND', 'is left over: no process listens on it']
}

/** Longer ones would be cut off in silence. */
const kMaxPath = 107

/** Errors: INVALID (too long), NOT_FOUND (no such directory). */
export function checkSocketPath (path: string): void {
  if (Buffer.byteLength(path) > kMaxPath) {
    throw new BlockferryError(
      'INVALID', `${path} is no path for a socket: ${kMaxPath} bytes at most`)
  }
  const folder = dirname(path)
  if (!existsSync(folder)) throw new BlockferryError('NOT_FOUND', `${folder} does not exist`)
}

export function socketError (thrown: unknown, path: string): BlockferryError {
  const { code = '', errno = 0, message } = thrown as NodeJS.ErrnoException
  const [known, words] = kCodes[code] ?? ['IO_ERROR', `failed: ${message}`]
  return new BlockferryError(known, `${path} ${words}`, { errno: Math.abs(errno), cause: thrown })
}
