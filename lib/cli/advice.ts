// The line after an error: who owns the disks and what to do next.
import { kErrors } from '../base/error-codes.js'
import type { BlockferryError } from '../base/errors.js'
import { UsageError } from './usage-error.js'

export function advice (error: BlockferryError, command: string): string {
  if (error instanceof UsageError) return `See: blockferry ${command} --help`.replace('  ', ' ')
  if (error.owner === 'destination') {
    return 'The destination owns the disks: go on there. The source refuses writes.'
  }
  if (error.owner === 'unknown') {
    return 'It is unknown who owns the disks: start neither side before `blockferry status` at the\n' +
      'destination has said whether they arrived there.'
  }
  if (error.owner === 'source') {
    return `The source owns the disks and goes on as before.\n${kErrors[error.code].advice}`
  }
  return kErrors[error.code].advice
}
