// The wall clock of a process, set while it runs, by libfaketime; its monotonic clock goes on.
import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs'

import type { Start } from '../cli/cli-process.js'

const kLibrary = readdirSync('/usr/lib')
  .map((name) => `/usr/lib/${name}/faketime/libfaketimeMT.so.1`)
  .find((path) => existsSync(path)) ?? null

/** For a test's `skip`: false, or why not. */
export const kNeedsFaketime = kLibrary === null && 'to set a clock takes libfaketime (faketime)'

export class WallClock {
  readonly start: Start

  /** `file`: says what the clock shows; of its own. */
  constructor (readonly file: string) {
    this.set(0)
    this.start = {
      env: {
        LD_PRELOAD: kLibrary!,
        FAKETIME_TIMESTAMP_FILE: file,
        FAKETIME_NO_CACHE: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
        NO_FAKE_STAT: '1'
      }
    }
  }

  /** So many seconds from the true time. */
  set (seconds: number): void {
    writeFileSync(`${this.file}.new`, `${seconds < 0 ? '' : '+'}${seconds}s\n`)
    renameSync(`${this.file}.new`, this.file)
  }
}
