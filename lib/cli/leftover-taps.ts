// What taps in the kernel have left, in words; and taken out, for `blockferry recover --device`.
import { BlockferryError } from '../base/errors.js'
import type { Recovered } from '../recover.js'
import type { LeftoverTap } from '../tap/leftovers.js'
import { markMoved, removeLeftoverTap } from '../tap/leftovers.js'
import { UsageError } from './usage-error.js'

const kStates = {
  tapped: 'works on through it',
  fenced: 'fenced, its reads and writes fail',
  beside: 'has a table of its own',
  alone: 'is gone'
}

export function leftoverTapText (left: LeftoverTap): string {
  const { device, live } = left
  const whose = live ? 'of a running process' : `of a dead process: blockferry recover --device ${device}`
  if (left.tap === 'bpf') {
    const until = live ? '' : ', or the next send with the same map file'
    return `bpf tap of ${device}, which is marked in a map file; ${whose}${until}`
  }
  if (left.moved && !live) return `dm tap of ${device}, which is fenced: its disk has moved, and may move back to it`
  const held = left.suspended ? ', its reads and writes wait' : ''
  return `dm tap of ${device}, which ${kStates[left.state]}${held}; ${whose}`
}

export interface NamedDevice { name: string | null, device: string }

/** DEVICE, or NAME=DEVICE. */
export function namedDevice (value: string): NamedDevice {
  const equals = value.indexOf('=')
  if (value === '' || equals === 0 || equals === value.length - 1) {
    throw new UsageError(`--device: ${value} is no DEVICE and no NAME=DEVICE`)
  }
  return equals < 0
    ? { name: null, device: value }
    : { name: value.slice(0, equals), device: value.slice(equals + 1) }
}

/** Of what a journal says, what concerns a disk: all of it where no name is given. INVALID when it knows
 * others only: a word for another disk would do harm. */
export function concerned (migrations: Recovered[], { name }: { name: string | null }): Recovered[] {
  const found = migrations.filter(({ disks }) => name === null || disks.some((disk) => disk.name === name))
  if (found.length > 0 || migrations.length === 0) return found
  throw new BlockferryError('INVALID', `the journal has no disk ${name}`)
}

/** `owned`: the disk is owned here, as a journal or the user says. */
export async function takeOut ({ device }: NamedDevice, owned: boolean): Promise<string> {
  const found = await removeLeftoverTap(device, { owned })
  return found ? `the tap that was left at ${device} is gone` : `no tap was left at ${device}`
}

/** Of a disk that is another side's for sure. */
export async function letReturn ({ device }: NamedDevice): Promise<string> {
  await markMoved(device)
  return `a migration back may come to ${device}`
}
