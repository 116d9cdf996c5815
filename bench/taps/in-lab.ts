// The same benchmark on a stock Debian kernel under software emulation, for taps that this host's
// kernel has no device for. Only ratios and counts say anything there.

import { fileURLToPath } from 'node:url'
import { inLab } from '../../testbed/lab/lab.js'

// The large disk is left out: nothing of it depends on the kernel, and all of it on its speed.
const cases = [
  'random-4k', 'attach-detach', 'reported-over-changed', 'compared-writes', 'throttle-step', 'delay-step'
]
const writes = 30_000

const program = fileURLToPath(new URL('../kernel-taps.js', import.meta.url))

/** Its report as JSON; null when it failed, which is said. */
export async function kernelTapsInLab (): Promise<unknown> {
  console.error('in the lab: a Debian kernel under software emulation')
  const { code, output } = await inLab(
    `modprobe -a loop dm_mod && '${process.execPath}' '${program}' --quick --json` +
    ` --writes ${writes} --cases ${cases.join(',')}`)
  const lines = output.trim().split('\n')
  if (code !== 0) {
    console.error(`the lab has failed:\n${lines.slice(-20).join('\n')}`)
    return null
  }
  console.log(['in the lab:', ...lines.slice(0, -1)].join('\n  '))
  return JSON.parse(lines.at(-1)!)
}
