// What people read: numbers, the progress line, the report.
import t from 'tap'

import { formatBytes, formatClock, formatRate, formatTime } from '../../lib/cli/format.js'
import { progressLine } from '../../lib/cli/progress-line.js'
import { reportText } from '../../lib/cli/report-text.js'
import type { Progress } from '../../lib/session/events.js'

t.test('numbers', async (t) => {
  t.same([0, 1, 999, 1000, 9949, 9960, 999_499, 999_500, 1.5e9, 2e15].map(formatBytes),
    ['0 B', '1 B', '999 B', '1.0 kB', '9.9 kB', '10 kB', '999 kB', '1.0 MB', '1.5 GB', '2.0 PB'])
  t.equal(formatRate(4.1e6), '4.1 MB/s')
  t.same([0, 0.42, 9.96, 180, 999.6, 6200, 59_900, 60_000, 200_000, 7_500_000, 100_800_000].map(formatTime),
    ['0 ms', '0.4 ms', '10 ms', '180 ms', '1.0 s', '6.2 s', '60 s', '1 min', '3 min 20 s', '2 h 5 min', '1 d 4 h'])
  t.same([0, 42_000, 200_000, 7_500_000].map(formatClock), ['0:01', '0:42', '3:20', '2:05:00'])
})

function progressAt (share: number, more: Partial<Progress> = {}): Progress {
  return {
    event: 'progress',
    elapsedMs: 1000,
    phase: 'rounds',
    round: 1,
    progress: share,
    remainingBytes: 612e6,
    sentBytes: 1e9,
    wireBytes: 1e9,
    bytesPerSecond: 112e6,
    dirtyBytesPerSecond: 4.1e6,
    throttle: null,
    forecast: { eta: [5000, 7000], predictedDowntimeMs: 180, limitedBy: 'link', relax: null },
    ...more
  }
}

const kPlain = { color: false, unicode: false }

t.test('the line fits every width and keeps the percentage', async (t) => {
  for (const more of [{}, { throttle: 3.1e6 }, { phase: 'bulk' as const }, { remainingBytes: 999e12, bytesPerSecond: 999e9 }]) {
    for (let width = 30; width <= 200; width++) {
      const line = progressLine(progressAt(0.523, more), 'copying', { ...kPlain, width })
      if (line.length > width) t.fail(`${line.length} columns of ${width}: ${line}`)
      if (!line.includes('52%')) t.fail(`no percentage: ${line}`)
    }
  }
  t.pass()
})

t.test('80 columns', async (t) => {
  const at = { ...kPlain, width: 79 }
  const bulk = progressLine(progressAt(0.5, { phase: 'bulk' }), 'copying', at)
  t.match(bulk, /^#+-+ +50% {2}112 MB\/s {2}dirty 4\.1 MB\/s +612 MB left {2}ETA 0:06$/)
  const rounds = progressLine(progressAt(0.9), 'copying', at)
  t.match(rounds, /^#+-+ +90% {2}112 MB\/s {2}dirty 4\.1 MB\/s +612 MB left {2}pause now 180 ms$/)
  const throttled = progressLine(progressAt(0.9, { throttle: 3.1e6 }), 'copying', at)
  t.match(throttled, /throttle 3\.1 MB\/s +612 MB left {2}pause now 180 ms$/)
  t.match(progressLine(progressAt(0.9), 'ready', at), /ready$/)
  t.match(progressLine(progressAt(0.9), 'paused', at), /paused$/)
  t.match(progressLine(progressAt(0.9), 'memory', at, 81e6), /memory 81 MB left$/)
  t.match(progressLine(progressAt(0.9), 'switchover', at), /switching over$/)
})

t.test('the bar fills', async (t) => {
  const filled = (share: number) => /^#*/.exec(progressLine(progressAt(share), 'copying', { ...kPlain, width: 120 }))![0].length
  t.equal(filled(0), 0)
  t.equal(filled(1), 30)
  t.equal(filled(0.5), 15)
  const bar = progressLine(progressAt(0.55), 'copying', { width: 120, color: false, unicode: true })
  t.match(bar, /^━{16}╸─{13} {2}/)
  t.match(progressLine(progressAt(0.5), 'copying', { width: 120, color: true, unicode: true }), /^\x1b\[32m━/)
})

t.test('without a terminal there is no bar; nothing known leaves things out', async (t) => {
  const unknown = { eta: null, predictedDowntimeMs: null, limitedBy: 'none' as const, relax: null }
  const line = progressLine(progressAt(0.01, { forecast: unknown }), 'copying', { ...kPlain, width: 0 })
  t.equal(line, '1%  112 MB/s  dirty 4.1 MB/s  612 MB left')
})

t.test('the report', async (t) => {
  const bytes = { disk: 1e9, sent: 612e6, wire: 580e6, zero: 412e6, same: 0 }
  const digest = { source: 'aa', destination: 'aa' }
  const report = {
    migration: 'x', durationMs: 12_300, downtimeMs: 42, downtime: { pause: 1, drain: 1, residual: 20, commit: 20 }, rounds: 1, bytes,
    dirty: { rate: 4.1e6, bytes: 5e7 }, rate: 47e6, memory: null,
    throttle: { delayMs: 0, writesDelayed: 0, activeMs: 0 }, attempts: 1,
    equal: true, digest, disks: [{
      name: 'web', bytes, equal: true, digest, dirty: { rate: 1, bytes: 1 }, throttle: { delayMs: 0, writesDelayed: 0 },
      refused: true
    }]
  }
  const text = reportText(report, 'there:1')
  t.match(text, /^moved web \(1\.0 GB\) to there:1 in 12 s\n {2}downtime {2}42 ms \(pause 1\.0, drain 1\.0, residual 20, commit 20 ms\)\n/)
  t.match(text, /sent +612 MB in 1 round, 412 MB of zeroes skipped\n/)
  t.match(text, /never throttled\n {2}equal +yes, both sides have the digest aa\n/)
  t.match(text, /owner +the destination; the source refuses writes now$/)
  const open = reportText({ ...report, disks: [{ ...report.disks[0]!, refused: false }] }, 'x')
  t.match(open, /owner +the destination\n +source +does not refuse writes to web: let nobody write there$/)
  t.ok(text.split('\n').every((line) => line.length < 80))
  t.match(reportText({ ...report, memory: { sent: 256e6, wire: 40e6 } }, 'x'), /memory +256 MB, 40 MB on the wire/)
  const throttled = reportText({ ...report, throttle: { delayMs: 600, writesDelayed: 200, activeMs: 3000 } }, 'x')
  t.match(throttled, /throttled for 3\.0 s \(200 writes delayed by 3\.0 ms on average\)/)
  t.match(reportText({ ...report, equal: null, digest: null }, 'x'), /equal +not compared/)
  t.match(reportText({ ...report, equal: false, digest: { source: 'a', destination: 'b' } }, 'x'), /equal +NO: digest a at/)
})
