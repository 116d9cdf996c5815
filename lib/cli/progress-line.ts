// One line that says how far a migration is. Pure: figures and a width in, text out.
import type { Progress } from '../session/events.js'
import { formatBytes, formatClock, formatRate, formatTime } from './format.js'

export type Stage = 'copying' | 'memory' | 'paused' | 'ready' | 'switchover'

export interface LineStyle {
  /** Columns to fill, the bar included; 0: no bar. */
  width: number
  color: boolean
  unicode: boolean
}

const kMinBar = 8
const kMaxBar = 30
const kGap = '  '

/** What is cut first when the line is narrow has the highest rank. */
interface Field { text: string, rank: number }

/** `memoryBytes`: what is left of the machine's memory, in the stage 'memory'. */
export function progressLine (
  progress: Progress, stage: Stage, style: LineStyle, memoryBytes = 0
): string {
  const fields = fieldsOf(progress, stage, memoryBytes)
  const room = style.width - (style.width > 0 ? kMinBar : 0)
  const kept = style.width > 0 ? fit(fields, room) : fields
  const words = kept.map(({ text }) => text).join(kGap)
  if (style.width === 0) return words.trim()
  const barWidth = Math.min(kMaxBar, style.width - words.length - kGap.length)
  return `${bar(progress.progress, barWidth, style)}${kGap}${words}`.trimEnd()
}

/** Padded, so that the bar keeps its width while the figures change. */
function fieldsOf (progress: Progress, stage: Stage, memoryBytes: number): Field[] {
  const { bytesPerSecond, dirtyBytesPerSecond: dirty, remainingBytes, throttle, phase } = progress
  const { forecast } = progress
  const pause = forecast.predictedDowntimeMs
  // While the bulk is being copied nobody would pause: cut first.
  const pauseRank = phase === 'bulk' ? 9 : 3
  return [
    { text: `${Math.floor(progress.progress * 100)}%`.padStart(4), rank: 0 },
    { text: formatRate(bytesPerSecond).padStart(8), rank: 2 },
    { text: `dirty ${formatRate(dirty)}`.padEnd(14), rank: throttle === null ? 5 : 8 },
    ...(throttle === null
      ? []
      : [{ text: `throttle ${formatRate(throttle)}`.padEnd(17), rank: 4 }]),
    { text: `${formatBytes(remainingBytes)} left`.padStart(11), rank: 1 },
    ...(pause === null
      ? []
      : [{ text: `pause now ${formatTime(pause)}`.padEnd(16), rank: pauseRank }]),
    ...lastField(progress, stage, memoryBytes)
  ]
}

function lastField (
  { forecast: { eta } }: Progress, stage: Stage, memoryBytes: number
): Field[] {
  if (stage === 'memory') return [{ text: `memory ${formatBytes(memoryBytes)} left`, rank: 0 }]
  if (stage === 'switchover') return [{ text: 'switching over', rank: 0 }]
  if (stage !== 'copying') return [{ text: stage, rank: 0 }]
  if (eta === null) return []
  return [{ text: `ETA ${formatClock((eta[0] + eta[1]) / 2)}`.padEnd(8), rank: 6 }]
}

function fit (fields: Field[], room: number): Field[] {
  const kept = [...fields]
  const length = () => kept.reduce((sum, { text }) => sum + text.length + kGap.length, 0)
  while (length() > room && kept.length > 1) {
    const worst = kept.reduce((most, field) => field.rank > most.rank ? field : most)
    if (worst.rank === 0) break
    kept.splice(kept.indexOf(worst), 1)
  }
  return kept
}

function bar (share: number, width: number, { color, unicode }: LineStyle): string {
  if (width < 1) return ''
  const full = Math.floor(share * width)
  if (!unicode) return '#'.repeat(full) + '-'.repeat(width - full)
  const half = share * width - full >= 0.5 ? '╸' : ''
  const rest = '─'.repeat(width - full - half.length)
  const done = '━'.repeat(full) + half
  return color ? `\x1b[32m${done}\x1b[0m\x1b[2m${rest}\x1b[0m` : done + rest
}
