// Shows a migration's events to people: a line that is redrawn on a terminal, else a line every
// few seconds; on stderr.
import type { WriteStream } from 'node:tty'

import type { HostEvent } from '../control/job.js'
import type { Infeasible } from '../policy/types.js'
import type { Progress } from '../session/events.js'
import { formatBytes, formatRate, formatTime } from './format.js'
import type { Stage } from './progress-line.js'
import { redirectEventText } from './redirect-text.js'
import { progressLine } from './progress-line.js'

const kRedrawMs = 100
const kLineMs = 5000
/** The feasible figure changes all the time. */
const kInfeasibleMs = 30_000

const kBudgetWords = {
  downtime: 'downtime budget', deadline: 'deadline', writeLatency: 'write-latency budget'
}
const kBudgetOptions = {
  downtime: '--downtime', deadline: '--deadline', writeLatency: '--write-latency'
}

export class ProgressDisplay {
  readonly #stream: WriteStream
  readonly #indent: string
  #shownAt = performance.now()
  #isDrawn = false
  #share = 0
  #infeasibleAt = -Infinity
  #stage: Stage = 'copying'
  #memoryBytes = 0

  constructor (stream: WriteStream = process.stderr, indent = '') {
    this.#stream = stream
    this.#indent = indent
  }

  show (event: HostEvent): void {
    switch (event.event) {
      case 'progress': return this.#progress(event)
      case 'started': return this.#say(`moving ${event.disks.map(named).join(', ')}`)
      case 'throttle': return this.#throttle(event.bytesPerSecond)
      case 'infeasible': return this.#infeasible(event.infeasible)
      case 'memory':
        if (this.#stage !== 'switchover') this.#stage = 'memory'
        this.#memoryBytes = event.remaining
        return
      case 'ready':
        this.#stage = 'ready'
        return this.#say('ready: `blockferry switchover` switches over')
      case 'switchover':
        this.#stage = 'switchover'
        return
      case 'resumed':
        this.#stage = 'copying'
        return this.#say(`the switchover was taken back, copying goes on: ${event.reason}`)
      case 'reconnecting':
        return this.#say(`the link is lost (${event.error.message}); next attempt in ${formatTime(event.waitMs)}`)
      case 'reconnected':
        return this.#say('connected again: only what the destination lacks is sent')
      case 'redirect': return this.#say(redirectEventText(event.redirect))
      case 'done':
      case 'failed':
        return this.clear()
      default: return
    }
  }

  /** Removes the line that is redrawn. */
  clear (): void {
    if (this.#isDrawn) this.#stream.write('\r\x1b[K')
    this.#isDrawn = false
  }

  #progress (progress: Progress): void {
    const now = performance.now()
    if (now - this.#shownAt < (this.#stream.isTTY ? kRedrawMs : kLineMs)) return
    this.#shownAt = now
    this.#share = Math.max(this.#share, progress.progress)
    const shown = { ...progress, progress: this.#share }
    if (!this.#stream.isTTY) {
      const plain = { width: 0, color: false, unicode: false }
      return this.#say(progressLine(shown, this.#stage, plain, this.#memoryBytes))
    }
    // The last column stays free: some terminals wrap when it is written.
    const width = (this.#stream.columns || 80) - 1 - this.#indent.length
    const color = (process.env['NO_COLOR'] ?? '') === '' && this.#stream.hasColors()
    const style = { width, color, unicode: isUnicode() }
    const line = progressLine(shown, this.#stage, style, this.#memoryBytes)
    this.#stream.write(`\r${this.#indent}${line}\x1b[K`)
    this.#isDrawn = true
  }

  /** On a terminal the line says it. */
  #throttle (bytesPerSecond: number | null): void {
    if (this.#stream.isTTY) return
    this.#say(bytesPerSecond === null
      ? 'the writers are no longer throttled'
      : `the writers are throttled to ${formatRate(bytesPerSecond)}`)
  }

  #infeasible (infeasible: Infeasible): void {
    if (performance.now() - this.#infeasibleAt < kInfeasibleMs) return
    this.#infeasibleAt = performance.now()
    this.#say(infeasibleWords(infeasible))
  }

  #say (words: string): void {
    this.clear()
    this.#stream.write(`${this.#indent}${words}\n`)
  }
}

function named ({ name, bytes, capacity }: { name: string, bytes: number, capacity?: number }): string {
  const rest = capacity === undefined ? '' : `; the other ${formatBytes(capacity - bytes)} of its storage stay`
  return `${name} (${formatBytes(bytes)}${rest})`
}

function infeasibleWords ({ budget, asked, feasible }: Infeasible): string {
  const words = `the ${kBudgetWords[budget]} of ${formatTime(asked)} cannot be met`
  if (!Number.isFinite(feasible)) return words
  const change = `blockferry set ${kBudgetOptions[budget]} ${Math.ceil(feasible)}ms`
  return `${words}, ${formatTime(feasible)} could be: ${change}`
}

function isUnicode (): boolean {
  const { LC_ALL, LC_CTYPE, LANG } = process.env
  const locale = LC_ALL || LC_CTYPE || LANG
  return locale === undefined || locale === '' || /utf-?8/i.test(locale)
}
