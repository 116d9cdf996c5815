// fio as the writer of a tapped device, past the page cache.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'

/** Starts it; `ended` rejects when it fails. */
export function startFio (device: string, options: readonly string[]): Promise<void> {
  const args = ['--name=writer', '--ioengine=libaio', '--direct=1', `--filename=${device}`]
  const child = spawn('fio', [...args, '--minimal', ...options], { stdio: ['ignore', 'ignore', 'pipe'] })
  return toEnd(child)
}

async function toEnd (child: ChildProcess): Promise<void> {
  let said = ''
  child.stderr?.on('data', (data) => (said += String(data)))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`fio ended with ${String(code)}: ${said}`)
}

/** One write at a time; the latency of each goes to a log. */
export class LatencyWriter {
  readonly #log: string
  readonly #ended: Promise<void>

  constructor (device: string, folder: string, seconds: number) {
    const log = `${folder}/latency`
    this.#log = `${log}_clat.1.log`
    this.#ended = startFio(device, [
      '--rw=randwrite', '--bs=4k', '--iodepth=1', '--time_based=1', `--runtime=${seconds}`,
      `--write_lat_log=${log}`, '--log_unix_epoch=1'
    ])
  }

  /** The longest write that ended between two moments (Date.now()), ms; null when none did. */
  async longest (windows: Record<string, [from: number, to: number]>): Promise<Record<string, number | null>> {
    await this.#ended
    const longest: Record<string, number | null> = {}
    for (const line of readFileSync(this.#log, 'utf8').split('\n')) {
      const [time = NaN, ns = NaN] = line.split(',').map(Number)
      for (const [name, [from, to]] of Object.entries(windows)) {
        if (!(time >= from && time <= to)) continue
        longest[name] = Math.max(longest[name] ?? 0, ns / 1e6)
      }
    }
    return longest
  }
}
