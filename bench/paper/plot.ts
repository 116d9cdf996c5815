// One picture per case: a row per contender, with the clients' response times over the whole run
// on the left and around the pause on the right.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Trace } from './clients.js'
import type { Recording, Times } from './experiment.js'
import { across, type Axis, type Box, document, line, logarithmic, lowerAxis } from './svg.js'
import { polyline, powersAxis, type Scale, text } from './svg.js'

const colors = ['#1f77b4', '#d95f02', '#2a9d4f', '#7b3294']
const marks = { begin: '#888', pause: '#c00', end: '#080' }
const panel = { width: 440, height: 190, between: 70, above: 66, below: 50, left: 60 }
const responses: Axis = { from: 1, to: 10_000 }

/** Writes CASE.svg into a folder. */
export function writePlot (
  folder: string,
  name: string,
  recordings: ReadonlyMap<string, Recording>
): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${name}.svg`), plot(name, recordings))
}

function plot (name: string, recordings: ReadonlyMap<string, Recording>): string {
  const rowHeight = panel.above + panel.height + panel.below
  const width = panel.left + 2 * (panel.width + panel.between)
  const longest = Math.max(...[...recordings.values()].map(({ times }) => seconds(times).end))
  const rows = [...recordings].flatMap(([contender, recording], row) => {
    const top = 20 + row * rowHeight + panel.above
    const { stop, resume } = seconds(recording.times)
    const margin = Math.max(0.5, resume - stop)
    return [
      text(panel.left, top - 40, `${contender}: whole run`, 'font-weight="bold"'),
      ...legend(recording.traces, panel.left + 150, top - 40),
      ...panelParts(recording, row, 0, { from: -1, to: longest }, top),
      ...panelParts(recording, row, 1, { from: stop - margin, to: resume + 2 * margin }, top)
    ]
  })
  const title = `${name}: response times of the machine's clients`
  const parts = [text(panel.left, 20, title, 'font-size="14"'), ...rows]
  return document(width, 20 + recordings.size * rowHeight, parts)
}

function panelParts (
  { times, traces }: Recording,
  row: number,
  column: number,
  axis: Axis,
  top: number
): string[] {
  const left = panel.left + column * (panel.width + panel.between)
  const box = { left, top, width: panel.width, height: panel.height }
  const [x, y] = [across(box, axis), logarithmic(box, responses)]
  const clip = `clip-${row}-${column}`
  const place = `x="${box.left}" y="${box.top}" width="${box.width}" height="${box.height}"`
  return [
    `<clipPath id="${clip}"><rect ${place}/></clipPath>`,
    ...powersAxis(box, responses, y, 'response time, ms'),
    ...lowerAxis(box, axis, x, 'seconds since the migration began'),
    `<g clip-path="url(#${clip})">`,
    ...traces.map((trace, i) => curve(trace, times, box, x, y, colors[i % colors.length]!)),
    '</g>',
    ...markLines(times, box, axis, x)
  ]
}

// Of all answers that fall on one pixel the slowest.
function curve (trace: Trace, times: Times, box: Box, x: Scale, y: Scale, color: string): string {
  const slowest = new Map<number, number>()
  for (const { startMs, endMs, ok } of trace.samples) {
    const at = Math.round(x((endMs - times.beginMs) / 1000))
    if (!ok || at < box.left - 1 || at > box.left + box.width + 1) continue
    slowest.set(at, Math.max(slowest.get(at) ?? 0, endMs - startMs))
  }
  const points = [...slowest].sort(([a], [b]) => a - b)
  return polyline(points.map(([at, ms]) => [at, y(ms)] as const), color)
}

function markLines (times: Times, box: Box, axis: Axis, x: Scale): string[] {
  const { stop, resume } = seconds(times)
  const isWide = axis.to - axis.from > 20 * (resume - stop)
  const words = { begin: 'begin', pause: isWide ? 'pause, end' : 'pause', end: isWide ? '' : 'end' }
  const at = { begin: 0, pause: stop, end: resume }
  return Object.entries(marks).flatMap(([name, color]) => {
    const key = name as keyof typeof marks
    if (at[key] < axis.from || at[key] > axis.to) return []
    const place = x(at[key])
    const style = `stroke="${color}" stroke-dasharray="4 3"`
    const anchor = `fill="${color}" text-anchor="middle"`
    return [
      line(place, box.top, place, box.top + box.height, style),
      ...(words[key] === '' ? [] : [text(place, box.top - 8, words[key], anchor)])
    ]
  })
}

function legend (traces: readonly Trace[], left: number, y: number): string[] {
  return traces.flatMap(({ name }, i) => {
    const x = left + i * 95
    const color = `stroke="${colors[i % colors.length]}" stroke-width="3"`
    return [line(x, y - 4, x + 14, y - 4, color), text(x + 18, y, name)]
  })
}

/** Since the migration's begin. */
function seconds ({ beginMs, stopMs, resumeMs, endMs }: Times) {
  const since = (ms: number) => (ms - beginMs) / 1000
  return { stop: since(stopMs), resume: since(resumeMs), end: since(endMs) }
}
