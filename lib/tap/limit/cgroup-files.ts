// The files of the cgroup io controller that limit what is written to one disk: `io.max` of version
// 2, `blkio.throttle.*` of version 1.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Per second; Infinity: no limit. */
export interface WriteRates { bytes: number, writes: number }

/** What the limits have let through, ever. */
export interface Written { bytes: number, writes: number }

/** What is written into a file to have a limit, and to have the one of before back. */
export interface LimitLine { file: string, line: string }

/** A cgroup that can limit its writes. */
export interface LimitedCgroup {
  /** As it is called in messages. */
  readonly name: string
  /** Lines for these rates, in whole numbers. `disk`: of the whole disk, like '7:0'. */
  lines: (disk: string, rates: WriteRates) => LimitLine[]
  /** The rates in force. */
  rates: (disk: string) => WriteRates
  written: (disk: string) => Written
}

const kVersion1 = ['blkio.throttle.write_bps_device', 'blkio.throttle.write_iops_device'] as const
const kCounts1 = ['blkio.throttle.io_service_bytes', 'blkio.throttle.io_serviced'] as const

/** null: that folder has no such files. The root of version 2 has none, that of version 1 limits the
 * whole disk. */
export function limitedCgroup (folder: string): LimitedCgroup | null {
  if (existsSync(join(folder, 'io.max'))) return version2(folder)
  return existsSync(join(folder, kVersion1[0])) ? version1(folder) : null
}

/** Does what the lines say. */
export function writeLines (lines: readonly LimitLine[]): void {
  for (const { file, line } of lines) writeFileSync(file, line)
}

function version2 (folder: string): LimitedCgroup {
  const file = join(folder, 'io.max')
  const word = (rate: number) => Number.isFinite(rate) ? String(rate) : 'max'
  return {
    name: folder,
    lines: (disk, { bytes, writes }) =>
      [{ file, line: `${disk} wbps=${word(bytes)} wiops=${word(writes)}` }],
    rates: (disk) => {
      const words = lineOf(file, disk)
      const rate = (key: string) => {
        const value = valueOf(words, key)
        return value === undefined || value === 'max' ? Infinity : Number(value)
      }
      return { bytes: rate('wbps'), writes: rate('wiops') }
    },
    written: (disk) => {
      const words = lineOf(join(folder, 'io.stat'), disk)
      return { bytes: Number(valueOf(words, 'wbytes') ?? 0), writes: Number(valueOf(words, 'wios') ?? 0) }
    }
  }
}

function version1 (folder: string): LimitedCgroup {
  const files = kVersion1.map((name) => join(folder, name)) as [string, string]
  const word = (rate: number) => Number.isFinite(rate) ? String(rate) : '0'
  const rate = (file: string, disk: string) => Number(lineOf(file, disk)[0] ?? 0) || Infinity
  return {
    name: folder,
    lines: (disk, { bytes, writes }) => [
      { file: files[0], line: `${disk} ${word(bytes)}` },
      { file: files[1], line: `${disk} ${word(writes)}` }
    ],
    rates: (disk) => ({ bytes: rate(files[0], disk), writes: rate(files[1], disk) }),
    written: (disk) => {
      const [bytes, writes] = kCounts1.map((name) => Number(lineOf(join(folder, name), `${disk} Write`)[0] ?? 0))
      return { bytes: bytes!, writes: writes! }
    }
  }
}

/** The words after these in the line that begins with them; none without such a line. */
function lineOf (file: string, beginning: string): string[] {
  const line = readFileSync(file, 'utf8').split('\n').find((line) => line.startsWith(`${beginning} `))
  return line?.slice(beginning.length + 1).split(' ') ?? []
}

/** In words like `key=value`. */
function valueOf (words: readonly string[], key: string): string | undefined {
  return words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1)
}

/** As the files take them, and show them again. 0 would be no limit in version 1, and version 2
 * refuses it. Both have 32 bits for writes. */
export function wholeRates ({ bytes, writes }: WriteRates): WriteRates {
  const whole = (rate: number) => Math.max(1, Math.round(rate))
  return { bytes: whole(bytes), writes: Number.isFinite(writes) ? Math.min(2 ** 32 - 2, whole(writes)) : writes }
}
