// A process whose wall clock is set, hours ahead or back. Nothing may come of it.
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { WallClock } from '../support/wall-clock.js'
import type { ProcessFaults } from './process-trial.js'

let made = 0

export const clockFaults: ProcessFaults = {
  'the clock jumps': () => {
    const clock = new WallClock(join(tmpdir(), `blockferry-clock-${process.pid}-${made++}`))
    return {
      start: clock.start,
      isHarmless: true,
      strike: (_victim, random) => {
        clock.set(random.pick([1, -1]) * Math.round(random.scaleBetween(60, 1e6)))
        return random.next() < 0.5 ? Infinity : random.scaleBetween(5, 1000)
      },
      heal: () => clock.set(0),
      end: () => rmSync(clock.file)
    }
  }
}
