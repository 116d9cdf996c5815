// What may happen to a process, by name.
import type { ProcessFaults } from './process-trial.js'

export const processFaults: ProcessFaults = {
  killed: () => ({
    strike: (victim) => {
      victim.kill('SIGKILL')
      return Infinity
    },
    heal: () => {}
  }),
  stopped: () => ({
    strike: (victim, random) => {
      victim.kill('SIGSTOP')
      return random.scaleBetween(5, 3000)
    },
    heal: (victim) => { victim.kill('SIGCONT') }
  })
}
