// As much of SVG as a plot takes, and the two axes.

/** A part of the picture, in pixels. */
export interface Box {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

/** From a figure to its place in pixels. */
export type Scale = (value: number) => number

export interface Axis {
  readonly from: number
  readonly to: number
}

const ink = '#333'
const faint = '#ddd'

export function text (x: number, y: number, words: string, style = ''): string {
  const clean = words.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${round(x)}" y="${round(y)}" ${style}>${clean}</text>`
}

export function line (x1: number, y1: number, x2: number, y2: number, style: string): string {
  const place = [x1, y1, x2, y2].map(round)
  return `<path d="M${place[0]} ${place[1]}L${place[2]} ${place[3]}" ${style}/>`
}

/** A line through points. */
export function polyline (points: readonly (readonly [number, number])[], color: string): string {
  const path = points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${round(x)} ${round(y)}`).join('')
  return `<path d="${path}" fill="none" stroke="${color}" stroke-width="1"/>`
}

export function document (width: number, height: number, parts: readonly string[]): string {
  const font = 'font-family="sans-serif" font-size="11"'
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${font} fill="${ink}">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...parts,
    '</svg>\n'
  ].join('\n')
}

/** A scale from left to right. */
export function across ({ left, width }: Box, { from, to }: Axis): Scale {
  return (value) => left + ((value - from) / (to - from)) * width
}

/** A scale from the bottom up, each power of ten as high as the next. */
export function logarithmic ({ top, height }: Box, { from, to }: Axis): Scale {
  const span = Math.log10(to / from)
  return (value) => {
    const share = Math.log10(Math.max(value, from) / from) / span
    return top + height * (1 - Math.min(1, share))
  }
}

/** The lower axis, with round figures on it, eight at the most. */
export function lowerAxis (box: Box, axis: Axis, x: Scale, title: string): string[] {
  const bottom = box.top + box.height
  const step = roundStep((axis.to - axis.from) / 8)
  const parts = []
  for (let i = Math.ceil(axis.from / step); i * step <= axis.to; i++) {
    const at = x(i * step)
    parts.push(line(at, box.top, at, bottom + 4, `stroke="${faint}"`))
    parts.push(text(at, bottom + 16, String(Number((i * step).toFixed(3))), middle))
  }
  parts.push(text(box.left + box.width / 2, bottom + 30, title, middle))
  parts.push(line(box.left, bottom, box.left + box.width, bottom, `stroke="${ink}"`))
  return parts
}

/** The left axis, a figure at each power of ten. */
export function powersAxis (box: Box, axis: Axis, y: Scale, title: string): string[] {
  const parts = []
  for (let value = axis.from; value <= axis.to; value *= 10) {
    const at = y(value)
    parts.push(line(box.left - 4, at, box.left + box.width, at, `stroke="${faint}"`))
    parts.push(text(box.left - 7, at + 4, String(value), 'text-anchor="end"'))
  }
  parts.push(text(box.left - 38, box.top - 21, title))
  parts.push(line(box.left, box.top, box.left, box.top + box.height, `stroke="${ink}"`))
  return parts
}

const middle = 'text-anchor="middle"'

/** The round number (1, 2 or 5 with zeroes) next to this one or above it. */
function roundStep (value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= value) ?? 10)
}

function round (value: number): number {
  return Math.round(value * 10) / 10
}
