// What the samples say about link and writer: goodput, wire bytes per content byte, dirty rate.
//
// Samples come at any interval. They are gathered into slices of a few round trips, because
// acknowledgements come in lumps; a slice in which the sender ran dry says nothing about the
// link's capacity, only that it is at least what was sent.
import type { Link, Sample } from './types.js'

/** Differences over one stretch of time. */
export interface Slice {
  /** ms. */
  duration: number
  end: number
  /** Wire bytes acknowledged, and wire bytes handed to the sockets. */
  wire: number
  handedOver: number
  /** Acknowledged of everything on the link, the machine's memory included. */
  carried: number
  content: number
  dirtied: number
  written: number
  writes: number
  delayMs: number
  idle: boolean
}

/** Bytes/s over one busy slice. */
interface Capacity {
  end: number
  rate: number
}

export interface History {
  /** The sample that the open slice starts at. */
  since: Sample | null
  idle: boolean
  /** Closed slices, oldest first, at most kWindowMs back. */
  slices: readonly Slice[]
  /** Busy slices, oldest first: kept however old they are, until newer ones replace them. */
  capacities: readonly Capacity[]
}

export const kWindowMs = 30_000
export const kUsualMs = 10_000
export const kRecentMs = 3_000
const kMinSliceMs = 200
const kMaxSliceMs = 2_000
const kSliceWire = 131_072
const kCapacities = 50
const kLastMs = 1_000
/** So many slices make an estimate that a budget may be called infeasible by. */
const kSettled = 5
const kPessimistic = 0.25
const kMeaningfulContent = 65_536
const kBacklog = 32_768

export const emptyHistory: History = { since: null, idle: false, slices: [], capacities: [] }

/** The value below which a share `q` (0 to 1) of `values` lies; null when there are none. */
export function quantile (values: readonly number[], q: number): number | null {
  if (values.length === 0) return null
  const sorted = [...values].sort((a, b) => a - b)
  const position = q * (sorted.length - 1)
  const below = sorted[Math.floor(position)]!
  const above = sorted[Math.ceil(position)]!
  return below + (above - below) * (position - Math.floor(position))
}

export function mean (values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Wire bytes that the link has carried, ever. */
export function carried ({ wire, memoryWire = 0 }: Sample): number {
  return wire + memoryWire
}

function difference (from: Sample, to: Sample, idle: boolean): Slice {
  return {
    duration: to.now - from.now,
    end: to.now,
    wire: to.wire - from.wire,
    handedOver: to.wire + to.inFlight - from.wire - from.inFlight,
    carried: carried(to) - carried(from),
    content: to.content - from.content,
    dirtied: to.dirtied - from.dirtied,
    written: to.written - from.written,
    writes: to.writes - from.writes,
    delayMs: to.throttleDelayMs - from.throttleDelayMs,
    idle
  }
}

/** Long enough, and enough in it that single acknowledgements don't count. */
function isSlice (from: Sample, to: Sample): boolean {
  const duration = to.now - from.now
  if (duration < Math.min(kMaxSliceMs, Math.max(kMinSliceMs, 2 * to.roundTripMs))) return false
  return carried(to) - carried(from) >= kSliceWire || duration >= kLastMs
}

/** More was waiting than the cable holds: the link was busy even if the sender had run dry. */
function backlogged (from: Sample, to: Sample): boolean {
  const onCable = (carried(to) - carried(from)) * to.roundTripMs / (to.now - from.now)
  return to.inFlight + (to.memoryInFlight ?? 0) > 2 * onCable + kBacklog
}

/** Counters ran backwards: a resumed migration or a new clock. */
function restarted (from: Sample, to: Sample): boolean {
  return to.now < from.now || to.wire < from.wire || to.written < from.written ||
    to.content < from.content || to.dirtied < from.dirtied
}

/** The history with one more sample in it. */
export function observe (history: History, sample: Sample): History {
  const { since } = history
  // Before the first acknowledgement the link isn't slow, only far.
  if (since === null || since.wire === 0 || restarted(since, sample)) {
    return { ...emptyHistory, since: sample }
  }
  const idle = history.idle || sample.idle
  if (!isSlice(since, sample)) return { ...history, idle }
  const slice = difference(since, sample, idle && !backlogged(since, sample))
  const oldest = sample.now - kWindowMs
  const slices = history.slices.filter(({ end }) => end > oldest)
  slices.push(slice)
  return {
    since: sample,
    idle: false,
    slices,
    capacities: withCapacity(history.capacities, slice)
  }
}

/** An idle slice counts only when it shows that the link does more than was known. */
function withCapacity (capacities: readonly Capacity[], slice: Slice): readonly Capacity[] {
  const rate = slice.carried * 1000 / slice.duration
  const known = mean(capacities.map((capacity) => capacity.rate))
  if (slice.idle && (known === null || rate <= known)) return capacities
  return [...capacities.slice(1 - kCapacities), { end: slice.end, rate }]
}

/** null until something was sent. `cap` is the bandwidth budget. */
export function estimateLink (history: History, cap = Infinity): Link | null {
  const { capacities } = history
  const newest = capacities.at(-1)
  if (newest === undefined) return linkFromIdle(history, cap)
  const rates = capacities.map(({ rate }) => rate)
  const recent = capacities.filter(({ end }) => end > newest.end - kLastMs)
  const recentMean = mean(recent.map(({ rate }) => rate))!
  return {
    pessimistic: Math.min(cap, quantile(rates, kPessimistic)!, recentMean),
    mean: Math.min(cap, mean(rates)!),
    peak: Math.min(cap, Math.max(...rates)),
    settled: capacities.length >= kSettled
  }
}

/** What was acknowledged in the last slice, wire bytes/s. */
export function lastRate ({ slices }: History): number {
  const last = slices.at(-1)
  return last === undefined ? 0 : last.carried * 1000 / last.duration
}

/** The sender never was the bottleneck: the link does at least what was ever sent. */
function linkFromIdle ({ slices }: History, cap: number): Link | null {
  const most = Math.max(0, ...slices.map((_, index) => rateAround(slices, index)))
  const rate = Math.min(cap, most)
  return most === 0 ? null : { pessimistic: rate, mean: rate, peak: rate, settled: false }
}

/** Over the slices up to this one that make up a second. */
function rateAround (slices: readonly Slice[], index: number): number {
  let wire = 0
  let duration = 0
  for (let at = index; at >= 0 && duration < kLastMs; at--) {
    wire += slices[at]!.carried
    duration += slices[at]!.duration
  }
  return wire * 1000 / Math.max(kLastMs, duration)
}

/** Wire bytes per content byte. */
export interface WireRatio {
  /** What to rely on for the downtime: half-way from the worst slice to no compression at all.
   * The residual is scattered single blocks, which compress less than the runs sent before. */
  pessimistic: number
  mean: number
}

/** From the slices in which enough was claimed, else from everything up to `sample`. */
export function estimateWireRatio ({ slices }: History, sample: Sample): WireRatio {
  const telling = slices.filter(({ content }) => content >= kMeaningfulContent)
  if (telling.length === 0) {
    const { content, wire, inFlight } = sample
    const ever = content > 0 ? clampRatio((wire + inFlight) / content) : 1
    return { pessimistic: Math.max(1, ever), mean: ever }
  }
  const ratios = telling.map(({ handedOver, content }) => handedOver / content)
  const content = telling.reduce((sum, slice) => sum + slice.content, 0)
  const handedOver = telling.reduce((sum, slice) => sum + slice.handedOver, 0)
  return {
    pessimistic: clampRatio(scattered(Math.max(...ratios))),
    mean: clampRatio(handedOver / content)
  }
}

function scattered (ratio: number): number {
  return Math.max(ratio, (ratio + 1) / 2)
}

function clampRatio (ratio: number): number {
  return Math.min(2, Math.max(0.001, ratio))
}

/** The writers over some time, bytes/s. */
export interface Writer {
  /** Blocks that went from clean to dirty. */
  dirtied: number
  written: number
  /** Delay that the throttle imposed, summed over all writes, ms per ms. */
  delayShare: number
  /** Average size of a write, bytes; 4096 when there was none. */
  writeSize: number
}

/** The writers over about the last `windowMs`. */
export function estimateWriter ({ slices }: History, windowMs: number): Writer {
  const newest = slices.at(-1)
  const sum = { duration: 0, dirtied: 0, written: 0, writes: 0, delayMs: 0 }
  for (const slice of slices) {
    if (slice.end <= newest!.end - windowMs) continue
    sum.duration += slice.duration
    sum.dirtied += slice.dirtied
    sum.written += slice.written
    sum.writes += slice.writes
    sum.delayMs += slice.delayMs
  }
  const perSecond = sum.duration > 0 ? 1000 / sum.duration : 0
  return {
    dirtied: sum.dirtied * perSecond,
    written: sum.written * perSecond,
    delayShare: sum.delayMs * perSecond / 1000,
    writeSize: sum.writes > 0 ? sum.written / sum.writes : 4096
  }
}
