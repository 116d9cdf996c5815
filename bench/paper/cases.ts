// The cases: a workload over a link, with a guest that fits.

import type { LinkOptions } from '../../testbed/hosts/link.js'

/** What the guest's clients do; see clients.ts. */
export type Workload = 'static' | 'dynamic' | 'stream' | 'diabolical'

export interface GuestSize {
  readonly diskBytes: number
  readonly contentBytes: number
  readonly memoryMiB: number
}

/** A link between the hosts, the guest that moves over it, and what is asked of the move. */
export interface Setting {
  readonly name: string
  /** Undefined: as fast as it goes. */
  readonly link: LinkOptions | undefined
  readonly size: GuestSize
  /** The downtime that both are told to keep, in ms. */
  readonly budgetMs: number
  /** Given up after this long, in s. */
  readonly limitSeconds: number
  /** How long the clients are watched before the move, and at least after it, in ms. */
  readonly watchMs: number
  /** Between the writes of `dynamic`, in ms. */
  readonly writeIntervalMs: number
  /** Of the downloads of `stream`. */
  readonly downloadBytesPerSecond: number
}

export interface Case {
  readonly name: string
  readonly setting: Setting
  readonly workload: Workload
  /** Only memory moves, by QEMU: what a gap has that no disk is to blame for. */
  readonly isFloor: boolean
}

const mebibyte = 2 ** 20
const large = { diskBytes: 1024 * mebibyte, contentBytes: 256 * mebibyte, memoryMiB: 256 }
const middle = { ...large, contentBytes: 64 * mebibyte }
const small = { diskBytes: 256 * mebibyte, contentBytes: 2 * mebibyte, memoryMiB: 128 }

const near = { budgetMs: 300, limitSeconds: 90, watchMs: 3000, writeIntervalMs: 20 }
const steady = { downloadBytesPerSecond: 256 * 1024 }
const slow = { downloadBytesPerSecond: 16 * 1024 }

const lan: Setting = { name: 'lan', link: undefined, size: large, ...near, ...steady }

const fullSettings: readonly Setting[] = [
  lan,
  {
    name: 'cloudnet',
    link: { rateBitsPerSecond: 85e6, delayMs: 13.5 },
    ...{ size: middle, ...near, ...steady }
  },
  {
    name: 'wan',
    link: { rateBitsPerSecond: 5e6, delayMs: 50 },
    ...{ size: small, budgetMs: 800, limitSeconds: 300 },
    ...{ watchMs: 3000, writeIntervalMs: 40, ...slow }
  }
]

const tiny = { ...small, memoryMiB: 96 }
const hasty = { limitSeconds: 25, watchMs: 1000 }

const quickSettings: readonly Setting[] = [
  { ...lan, size: tiny, ...hasty, ...slow },
  {
    name: '50mbit',
    link: { rateBitsPerSecond: 50e6, delayMs: 5 },
    ...{ size: tiny, ...near, ...hasty, ...slow }
  }
]

const workloads: readonly Workload[] = ['static', 'dynamic', 'stream', 'diabolical']

/** All cases. `limitSeconds` replaces what the settings say. */
export function allCases (isQuick: boolean, limitSeconds: number | undefined): Case[] {
  const settings = (isQuick ? quickSettings : fullSettings).map((setting) => {
    return limitSeconds === undefined ? setting : { ...setting, limitSeconds }
  })
  const chosen = isQuick ? workloads.slice(0, 2) : workloads
  const moves = settings.flatMap((setting) =>
    chosen.map((workload) => asCase(setting, workload, false))
  )
  return isQuick ? moves : [...moves, asCase(settings[0] as Setting, 'static', true)]
}

function asCase (setting: Setting, workload: Workload, isFloor: boolean): Case {
  const name = `${setting.name}-${isFloor ? 'floor' : workload}`
  return { name, setting, workload, isFloor }
}
