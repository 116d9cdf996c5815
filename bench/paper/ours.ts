// blockferry moves the guest: its disk is served by `blockferry serve` on both hosts.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Report } from '../../lib/session/report.js'
import type { Guest } from '../../testbed/guests/guest.js'
import { type Move, MovingGuest } from '../../testbed/guests/moving-guest.js'
import { givenUp, type Ground, type Moved, now, type Site } from './site.js'

/** The switchover must have begun at the deadline; this long after it the move counts as stuck. */
const graceSeconds = 60

class FerrySite implements Site {
  readonly source: Guest
  readonly destination: Guest
  readonly images: { readonly source: string, readonly destination: string }
  readonly #moving: MovingGuest
  readonly #ground: Ground
  #move: Move | undefined

  constructor (moving: MovingGuest, source: Guest, destination: Guest, ground: Ground) {
    this.#moving = moving
    this.#ground = ground
    this.source = source
    this.destination = destination
    this.images = { source: moving.here.image, destination: moving.there.image }
  }

  async move (): Promise<Moved> {
    const { budgetMs, limitSeconds } = this.#ground.setting
    const budgets = ['--downtime', `${budgetMs}ms`, '--deadline', `${limitSeconds}s`]
    this.#move = await this.#moving.begin(...budgets)
    const beginMs = now() // its receive listens, its send has just been started
    const done = this.#move.done().then(asMoved(budgetMs), afterFailure(limitSeconds))
    const stuck = `it has not ended ${graceSeconds} s after its deadline`
    const patience = new AbortController()
    const tooLate = sleep((limitSeconds + graceSeconds) * 1000, givenUp(stuck), patience)
    const outcome = await Promise.race([done, tooLate]).finally(() => patience.abort())
    return { beginMs, ...outcome }
  }

  async release (): Promise<void> {
    for (const { guest, serve } of [this.#moving.here, this.#moving.there]) {
      await guest?.kill()
      await serve.kill('SIGTERM')
    }
  }

  async close (): Promise<void> {
    await this.#move?.send.kill()
    await this.#move?.receive.kill()
    await this.#moving.close()
  }
}

type Outcome = Omit<Moved, 'beginMs'>

function asMoved (allowedMs: number): (report: Report) => Outcome {
  return ({ downtimeMs, downtime, throttle, equal, rounds, attempts }) => {
    const figures = { throttleMs: throttle.delayMs, reportedDowntimeMs: downtimeMs }
    const phases = Object.entries(downtime).map(([name, ms]) => [`downtime-${name}Ms`, ms])
    const details = { rounds, attempts, ...Object.fromEntries(phases) }
    return { reason: null, allowedMs, ...figures, reportedEqual: equal, details }
  }
}

function afterFailure (limitSeconds: number): (error: Error & { code?: string }) => Outcome {
  return (error) => {
    if (error.code === 'DEADLINE') return givenUp(`not ready in ${limitSeconds} s`)
    throw error
  }
}

/** A guest that blockferry moves. */
export async function prepareOurs (ground: Ground): Promise<Site> {
  const { hosts, setting, folder } = ground
  const moving = await MovingGuest.boot(hosts, { ...setting.size, folder })
  try {
    const destination = await moving.prepareThere()
    if (moving.here.guest === null) throw new Error('the guest is gone')
    return new FerrySite(moving, moving.here.guest, destination, ground)
  } catch (error) {
    await moving.close()
    throw error
  }
}
