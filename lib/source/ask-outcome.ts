// After the link broke while the destination was deciding: who owns the disks?
import { setTimeout as sleep } from 'node:timers/promises'

import { BlockferryError } from '../base/errors.js'
import type { NativeTrust } from '../native/types.js'
import type { Messages } from '../session/messages.js'
import { SourceLink } from './link.js'

export interface AskOptions {
  host: string
  port: number
  tls: NativeTrust
  migration: string
  linkTimeoutMs: number
  /** Gives up after this long, ms. */
  patienceMs: number
}

/** Asks on new connections until the destination answers. OWNER_UNKNOWN when it does not. */
export async function askOutcome (options: AskOptions): Promise<Messages['outcome']> {
  const end = performance.now() + options.patienceMs
  let last: unknown
  for (let wait = 100; performance.now() < end; wait = Math.min(wait * 2, 2000)) {
    const link = new SourceLink(options.linkTimeoutMs, options.tls, () => {})
    try {
      await link.connect(options.host, options.port, options.linkTimeoutMs)
      return await link.ask('query', { migration: options.migration }, 'outcome')
    } catch (error) {
      last = error
    } finally {
      await link.close()
    }
    await sleep(wait)
  }
  throw new BlockferryError(
    'OWNER_UNKNOWN',
    'the link broke while the destination was deciding, and it does not answer: start neither ' +
    'side before the destination has been asked',
    { owner: 'unknown', resumable: true, cause: last }
  )
}
