// What an operator carries from one host to the other when they don't reach each other: what
// became of a migration, with a check against slips of the pen. It is no secret and no proof
// against a liar.
import { crc32 } from 'node:zlib'

import { BlockferryError } from '../base/errors.js'

export interface Outcome { migration: string, committed: boolean }

const kForm = /^bf1:([0-9a-f-]{36}):(committed|refused):([0-9a-f]{8})$/

export function tokenOf ({ migration, committed }: Outcome): string {
  const text = `bf1:${migration}:${committed ? 'committed' : 'refused'}`
  return `${text}:${crc32(text).toString(16).padStart(8, '0')}`
}

/** INVALID for what is no token, or one that was copied wrongly. */
export function parseToken (token: string): Outcome {
  const [, migration, outcome] = kForm.exec(token.trim()) ?? []
  if (migration !== undefined) {
    const parsed = { migration, committed: outcome === 'committed' }
    if (tokenOf(parsed) === token.trim()) return parsed
  }
  throw new BlockferryError('INVALID', 'token: is none, or was not copied as it is')
}
