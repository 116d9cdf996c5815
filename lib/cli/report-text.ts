// A migration's report for people.
import type { DowntimePhases, MemoryBytes, Report } from '../session/report.js'
import { formatBytes, formatRate, formatTime } from './format.js'

export function reportText (report: Report, to: string): string {
  const { disks, bytes, downtime, downtimeMs, durationMs, rounds, rate } = report
  const names = disks.map((disk) => `${disk.name} (${formatBytes(disk.bytes.disk)})`).join(', ')
  return [
    `moved ${names} to ${to} in ${formatTime(durationMs)}`,
    row('downtime', `${formatTime(downtimeMs)} (${phaseWords(downtime)} ms)`),
    row('sent', `${formatBytes(bytes.sent)} in ${rounds} ${rounds === 1 ? 'round' : 'rounds'}, ` +
      `${formatBytes(bytes.zero)} of zeroes skipped` +
      (bytes.same === 0 ? '' : `, ${formatBytes(bytes.same)} were there already`)),
    row('wire', `${formatBytes(bytes.wire)} at ${formatRate(rate)}`),
    ...(report.memory === null ? [] : [row('memory', memoryWords(report.memory))]),
    row('writers', `dirtied ${formatRate(report.dirty.rate)}, ${throttleWords(report)}`),
    row('equal', equalWords(report)),
    ...ownerRows(report)
  ].join('\n')
}

function memoryWords ({ sent, wire }: MemoryBytes): string {
  return `${formatBytes(sent)}, ${formatBytes(wire)} on the wire`
}

function row (name: string, words: string): string {
  return `  ${name.padEnd(10)}${words}`
}

function phaseWords ({ pause, drain, residual, commit }: DowntimePhases): string {
  const phases = Object.entries({ pause, drain, residual, commit })
  return phases.map(([name, ms]) => `${name} ${ms.toFixed(ms < 10 ? 1 : 0)}`).join(', ')
}

function throttleWords ({ throttle: { activeMs, writesDelayed, delayMs } }: Report): string {
  if (activeMs === 0) return 'never throttled'
  const mean = writesDelayed === 0 ? 0 : delayMs / writesDelayed
  const writes = `${writesDelayed} writes delayed by ${formatTime(mean)} on average`
  return `throttled for ${formatTime(activeMs)} (${writes})`
}

function ownerRows ({ disks }: Report): string[] {
  const open = disks.filter(({ refused }) => !refused).map(({ name }) => name)
  if (open.length === 0) return [row('owner', 'the destination; the source refuses writes now')]
  return [row('owner', 'the destination'), row('source', `does not refuse writes to ${open.join(', ')}: let nobody write there`)]
}

function equalWords ({ digest, equal }: Report): string {
  if (equal === null || digest === null) return 'not compared (--no-equality)'
  return equal
    ? `yes, both sides have the digest ${digest.source}`
    : `NO: digest ${digest.source} at the source, ${digest.destination} at the destination`
}
