// Sees a domain be suspended, or end.
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'

import { findDomain } from './xl.js'

export type Sight = 'runs' | 'suspended' | 'gone'

/** Between looks when xenstored says nothing. */
const kLookMs = 5000

export class DomainWatch {
  readonly #id: number
  readonly #suspended: RegExp
  readonly #events: ChildProcess
  readonly #timer: NodeJS.Timeout
  #isLooking = false
  #lookAgain = false
  #isClosed = false
  #last: Sight = 'runs'
  #wake = new Set<() => void>()

  /** `orPaused`: a domain that is paused counts as suspended: xl leaves one so that it has saved. */
  constructor (id: number, orPaused: boolean) {
    this.#id = id
    this.#suspended = orPaused ? /[sp]/ : /s/
    // Fires when a domain is shut down, suspended included, or removed.
    this.#events = spawn('xenstore-watch', ['@releaseDomain'], { stdio: ['ignore', 'pipe', 'ignore'] })
    this.#events.on('error', () => {})
    this.#events.unref()
    this.#events.stdout!.on('data', () => void this.#look())
    this.#timer = setInterval(() => void this.#look(), kLookMs).unref()
  }

  /** Resolves with what it saw when that is not `runs`. Never after close(). */
  async seen (): Promise<Sight> {
    while (this.#last === 'runs') await new Promise<void>((resolve) => this.#wake.add(resolve))
    return this.#last
  }

  /** Resolves when the domain is no more. Never after close(). */
  async gone (): Promise<void> {
    while (this.#last !== 'gone') await new Promise<void>((resolve) => this.#wake.add(resolve))
  }

  close (): void {
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#events.kill()
  }

  async #look (): Promise<void> {
    this.#lookAgain = true
    if (this.#isLooking) return
    this.#isLooking = true
    while (this.#lookAgain && !this.#isClosed) {
      this.#lookAgain = false
      try {
        const domain = await findDomain(this.#id)
        const isGone = domain === null || /[cd]/.test(domain.state) || domain.reason === 'other'
        this.#see(isGone ? 'gone' : this.#suspended.test(domain.state) ? 'suspended' : 'runs')
      } catch {} // the toolstack may be restarting: the timer looks again
    }
    this.#isLooking = false
  }

  #see (sight: Sight): void {
    if (this.#isClosed || sight === this.#last) return
    this.#last = sight
    const woken = [...this.#wake]
    this.#wake.clear()
    for (const wake of woken) wake()
  }
}
