// What a journal keeps of a migration's options, so that it can go on after a crash.
import { isObject } from '../base/check.js'
import { BlockferryError } from '../base/errors.js'
import { hostPortText } from '../base/units.js'
import type { Holes } from '../tap/holes.js'
import type { CheckedMigrateOptions, MigrateOptions, SourceDisk } from './options.js'

/** As MigrateOptions: no secrets, and nothing that lives in a process. */
export interface MigrationPlan extends Pick<MigrateOptions,
  'throttle' | 'equality' | 'reuse' | 'compression' | 'blockSize' | 'streams' | 'linkTimeout' | 'reconnect'> {
  disks: Array<{
    name: string
    source: string
    tap?: Exclude<SourceDisk['tap'], 'nbd' | undefined>
    map?: string
    cgroup?: string
    force?: boolean
    /** Bytes. */
    size?: number
    holes?: Holes
  }>
  destination: string
  budgets: { downtime: number, writeLatency?: number, deadline?: number, bandwidth?: number }
  /** A date as ISO 8601. */
  switchover?: string
  /** It had such: without it it can't go on. */
  machine: boolean
  network: boolean
  sharedBandwidth?: boolean
}

export function planOf (options: CheckedMigrateOptions): MigrationPlan {
  const { host, port, budgets, machine, network } = options
  const { switchover, throttle, equality, reuse, compression, blockSize, streams } = options
  return {
    disks: options.disks.map(({ name, source, tap, map, cgroup, force, size, holes }) => ({
      name,
      source: typeof source === 'string' ? source : source.source,
      ...(tap !== 'nbd' && { tap }), // else nobody would see the writes to it
      ...(map !== undefined && { map }),
      ...(cgroup !== undefined && { cgroup }),
      ...(force !== undefined && { force }),
      ...(size !== undefined && { size }),
      ...(holes !== undefined && { holes })
    })),
    destination: hostPortText({ host, port }),
    budgets: {
      downtime: budgets.downtimeMs,
      ...(budgets.writeLatencyMs !== undefined && { writeLatency: budgets.writeLatencyMs }),
      ...(budgets.deadlineMs !== undefined && { deadline: budgets.deadlineMs }),
      ...(budgets.bandwidth !== undefined && { bandwidth: budgets.bandwidth })
    },
    switchover: switchover instanceof Date ? switchover.toISOString() : switchover,
    throttle,
    equality,
    reuse,
    compression,
    blockSize,
    streams,
    linkTimeout: options.linkTimeoutMs,
    reconnect: options.reconnectMs,
    machine: Object.keys(machine).length > 0 || Object.getPrototypeOf(machine) !== Object.prototype,
    network: network !== null,
    sharedBandwidth: options.sharedBandwidth !== null
  }
}

/** The options to go on with: those of then, but for what is given now; budgets one by one. JOURNAL for a
 * plan that is none. */
export function optionsOf (
  plan: object, given: Partial<MigrateOptions>, journal: MigrateOptions['journal']
): MigrateOptions {
  if (!isPlan(plan)) throw new BlockferryError('JOURNAL', 'the journal tells of a migration that this version does not know')
  const { machine, network, sharedBandwidth = false, switchover = 'auto', ...rest } = plan
  const budgets = { ...rest.budgets, ...given.budgets }
  checkHas('machine', machine, given.machine)
  checkHas('network', network, given.network)
  checkHas('budgets.bandwidth', sharedBandwidth, budgets.bandwidth)
  const when = switchover === 'auto' || switchover === 'manual' ? switchover : new Date(switchover)
  return { ...rest, switchover: when, ...given, budgets, ...(journal !== undefined && { journal }) }
}

/** Each option is checked again by migrate(). */
function isPlan (plan: object): plan is MigrationPlan {
  const { disks, destination, budgets } = plan as Partial<MigrationPlan>
  return Array.isArray(disks) && typeof destination === 'string' && isObject(budgets)
}

function checkHas (option: string, had: boolean, given: unknown): void {
  if (!had || given !== undefined) return
  throw new BlockferryError('INVALID', `${option}: the migration had one, and can't go on without it`)
}
