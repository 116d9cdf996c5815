// A send or receive that another process runs for us.
import { BlockferryError } from '../base/errors.js'
import type { ControlClient } from './client.js'
import type { Emit } from './job.js'
import type { Commands } from './protocol.js'

export interface Remote<Result> {
  /** Rejects with OWNER_UNKNOWN when the process ends without a word. */
  result: Promise<Result>
  /** Asks for the end; `result` tells what came of it. */
  cancel: () => void
}

/** Starts it; the client is closed when it is over. */
export function startRemote<C extends 'send' | 'receive'> (
  client: ControlClient, command: C, request: Commands[C]['arguments'], emit: Emit
): Remote<Commands[C]['result']> {
  let migration: string | undefined
  let isCancelled = false
  const cancel = () => {
    isCancelled = true
    if (migration !== undefined) client.request('cancel', { migration }).catch(() => {})
  }
  const follow = async () => {
    try {
      return await client.request(command, request, (event) => {
        if (event.event !== 'accepted') return emit(event)
        migration = event.migration
        if (isCancelled) cancel()
      })
    } catch (thrown) {
      throw migration === undefined ? thrown : lostSight(thrown)
    } finally {
      client.close()
    }
  }
  return { result: follow(), cancel }
}

/** The process ended without a word: nobody here knows how far it had come. */
function lostSight (thrown: unknown): unknown {
  const isLost = thrown instanceof BlockferryError && thrown.code === 'PEER_GONE' && thrown.owner === null
  if (!isLost) return thrown
  return new BlockferryError('OWNER_UNKNOWN', thrown.message, { owner: 'unknown', cause: thrown })
}
