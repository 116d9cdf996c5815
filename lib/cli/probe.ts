// blockferry probe: which taps a disk can have.
import type { Probe, TapAnswer } from '../tap/probe.js'
import { probe as probeDisk } from '../tap/probe.js'
import type { Command } from './command.js'
import { kExit } from './exit-codes.js'

export const probe: Command = {
  name: 'probe',
  summary: 'show which taps a disk can have',
  help: `Usage: blockferry probe DEVICE

Shows what can watch the writes to a disk while it moves: which taps can be had here, which one
\`tap: 'auto'\` takes, and why not the others. Attaches and changes nothing.

  DEVICE                 a block device, or an image file
  --json                 the answer on stdout as one JSON object

Exit codes: 0 a tap can be attached to the disk as it is; 1 none can.`,
  options: {},
  operand: 'DEVICE',
  run: async (values, output) => {
    const answer = await probeDisk(values.DEVICE as string)
    output.event({ event: 'probe', ...answer })
    output.line(text(answer))
    return answer.auto === null ? kExit.failed : kExit.done
  }
}

function text ({ source, taps, throttle, auto }: Probe): string {
  const choice = auto === null ? 'no tap can be attached to it as it is' : `auto takes ${auto}`
  return [
    `${source}: ${choice}`,
    ...taps.map(tapLine),
    `  slowing the writers of a running device: ${throttle.possible ? 'yes' : 'no'}, ${throttle.reason}`
  ].join('\n')
}

function tapLine ({ tap, possible, reason }: TapAnswer): string {
  return `  ${tap}: ${possible ? 'yes' : 'no'}, ${reason}`
}
