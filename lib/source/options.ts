// The options of migrate(): defaults, units, and what is nonsense.
import type { Machine } from '../machine/machine.js'
import { isMemoryMachine } from '../machine/machine.js'
import type { Network } from '../network/network.js'
import type { Journal } from '../ownership/journal.js'
import type { Budgets } from '../policy/types.js'
import { SharedBandwidth } from '../base/shared-bandwidth.js'
import type { TapKind } from '../tap/options.js'
import { Tap } from '../tap/tap.js'
import type { Holes } from '../tap/holes.js'
import { kHoles } from '../tap/holes.js'
import { checkBlockSize, checkSize, parseRate, parseTime } from '../base/units.js'
import {
  checkAddress, checkJournal, checkLinkTimeout, checkMachine, checkNames, checkNetwork
} from '../session/option-checks.js'
import { checkFlag, checkKeys, checkSignal, isObject, nonsense, oneOf } from '../base/check.js'
import type { TlsOptions, Welcome } from '../base/tls.js'
import { checkTls } from '../base/tls.js'

/** A disk to be moved: a tap, or a path. */
export interface SourceDisk {
  source: Tap | string
  /** Of a path: what sees the writes to it. 'nbd': nobody writes to it; BUSY when a program is known to have
   * it open for writing, NOT_EQUAL when it was written before the commit. 'bpf', 'dm': see TapOptions.
   * 'auto': the best tap that can be attached to the device as it is (see probe()), UNSUPPORTED when
   * there is none. A 'bpf' tap stops no writer, so `machine` has to have a pause() that does; without
   * one 'auto' is 'dm'. Default 'nbd'. */
  tap?: TapKind | 'auto'
  /** Of a path: its map file, for blocks of `blockSize`. See TapOptions: what was sent when this process
   * is killed, and has not changed since, the next migration with the same map neither reads nor sends.
   * Default: none. */
  map?: string
  /** Of a path with a tap in the kernel: the folder of the cgroup whose writes are slowed. Default: see
   * TapOptions. */
  cgroup?: string
  /** Of a path without a tap in the kernel: take it although another program has it open for writing. See
   * TapOptions. Default false: BUSY. */
  force?: boolean
  /** Of a path without a tap in the kernel, bytes: see TapOptions. Default: what the journal knows of a disk
   * that has come to larger storage, else all of it. With a tap in the kernel the disk is the whole device,
   * as its writers see it. */
  size?: number | string
  /** Of a path without a tap in the kernel: whether its holes are read. See TapOptions. Default 'auto'. */
  holes?: Holes
  /** What the destination calls it. Default: the tap's name, or 'disk'. */
  name?: string
}

export interface MigrateOptions {
  /** 1 to 64 disks, with different names; they switch over together. */
  disks: readonly SourceDisk[]
  /** A receive() elsewhere: 'HOST:PORT' or an object. */
  destination: string | { host: string, port: number }
  /** How all of its connections are encrypted, and who may be at the other end: the same kind of key
   * on both sides. False: not at all, for networks that are safe without. Default: not at all if
   * the destination is this host's loopback, and its process is of this user or root (else
   * UNAUTHORIZED); else INVALID. */
  tls?: TlsOptions | false
  /** What writes to the disks: pause() and resume() of your own, or a machine whose memory moves,
   * too, such as qemu(). Default: nothing to pause; the taps hold the writers. */
  machine?: Machine
  /** Takes the machine's connections along, this site's half: redirect({ role: 'old', … }) or hooks
   * of your own. Default: the machine keeps its address, or nobody minds. */
  network?: Network
  budgets?: {
    /** The most that the writers may be stopped. Default '300ms'. */
    downtime?: number | string
    /** The most that the throttle may delay a 4 KiB write on average. Default: no limit. */
    writeLatency?: number | string
    /** Fail (DEADLINE) when the switchover has not begun by then. Default: no limit. */
    deadline?: number | string
    /** The most to send; a SharedBandwidth is what several migrations may send together. Default:
     * what the link carries. */
    bandwidth?: number | string | SharedBandwidth
  }
  /** When to switch over: as soon as the downtime budget is met, when switchover() is called, or
   * not before a date. Default 'auto'. */
  switchover?: 'auto' | 'manual' | Date
  /** How to slow a writer that outruns the link: a token bucket, the steps of VEE 2007 (nbd taps
   * only, else INVALID), or not at all. Taps in the kernel have cgroups do it: where these can't,
   * writers are not slowed (probe() tells). Default 'bucket'. */
  throttle?: 'bucket' | 'steps' | 'none'
  /** Compare both sides before the commit. Default true. */
  equality?: boolean
  /** Take what the destination's disk holds already (from an attempt before, from a time when the
   * disk was there, from a template): both sides read their disks, and only what differs is sent. Without it a
   * disk that holds all of this one already is REFUSED: nothing tells it from the disk itself. Default true. */
  reuse?: boolean
  /** zstd for what is sent: always, never, or when the link is slower than the compressor.
   * Default 'auto'. */
  compression?: 'auto' | 'on' | 'off'
  /** Tracking unit: a power of two from 4 KiB to 1 MiB. Default 4 KiB. */
  blockSize?: number | string
  /** TCP connections for data, 1 to 16. Default 2. */
  streams?: number
  /** A peer that is silent for so long is gone. Default '20s', at least 1 s. */
  linkTimeout?: number | string
  /** How long a link that was lost is tried again (until the machine's memory is under way); 0: not
   * at all. Default '2min'. */
  reconnect?: number | string
  /** A file that remembers who owns the disks across crashes (see recover()), or one that is open
   * already; one for all migrations of a host, both ways. Default: nothing is remembered. */
  journal?: string | Journal
  /** Aborting it before the commit cancels the migration; after that it has no effect. */
  signal?: AbortSignal
}

export interface CheckedMigrateOptions {
  disks: ReadonlyArray<{
    source: Tap | string
    name: string
    tap: TapKind | 'auto'
    map?: string
    cgroup?: string
    force?: boolean
    size?: number
    holes?: Holes
  }>
  host: string
  port: number
  tls: Welcome
  machine: Machine
  network: Network | null
  budgets: Budgets
  sharedBandwidth: SharedBandwidth | null
  switchover: 'auto' | 'manual' | Date
  throttle: 'bucket' | 'steps' | 'none'
  equality: boolean
  reuse: boolean
  compression: 'auto' | 'on' | 'off'
  blockSize: number
  streams: number
  linkTimeoutMs: number
  reconnectMs: number
  journal: string | Journal | null
  signal: AbortSignal | null
}

function checkReconnect (value: number | string): number {
  return value === 0 ? 0 : parseTime('reconnect', value)
}

/** The budgets of the options, checked; also for changes while a migration runs. */
export function checkBudgets (budgets: NonNullable<MigrateOptions['budgets']>): Budgets {
  checkKeys('budgets', budgets, ['downtime', 'writeLatency', 'deadline', 'bandwidth'])
  const { downtime = '300ms', writeLatency, deadline, bandwidth } = budgets
  return {
    downtimeMs: parseTime('budgets.downtime', downtime),
    ...(writeLatency !== undefined && { writeLatencyMs: parseTime('budgets.writeLatency', writeLatency) }),
    ...(deadline !== undefined && { deadlineMs: parseTime('budgets.deadline', deadline) }),
    ...(bandwidth !== undefined && !(bandwidth instanceof SharedBandwidth) && {
      bandwidth: parseRate('budgets.bandwidth', bandwidth)
    })
  }
}

/** What is left over of a shared bandwidth shows in what the link carries, not as a budget. */
export function sharedIn (budgets: NonNullable<MigrateOptions['budgets']>): SharedBandwidth | null {
  return budgets.bandwidth instanceof SharedBandwidth ? budgets.bandwidth : null
}

/** `where`: 'disks[0]' and so on. */
function checkDisk (where: string, disk: SourceDisk): CheckedMigrateOptions['disks'][number] {
  const { source, name, tap, map, cgroup, force, size, holes } = isObject(disk) ? disk : {} as SourceDisk
  const isPath = typeof source === 'string' && source !== ''
  if (!isPath && !(source instanceof Tap)) throw nonsense(`${where}.source`, 'a Tap or a path')
  if (tap !== undefined && !isPath) throw nonsense(`${where}.tap`, 'left out: the source is a Tap')
  if (map !== undefined && !isPath) throw nonsense(`${where}.map`, 'left out: the source is a Tap')
  if (map !== undefined && (typeof map !== 'string' || map === '')) throw nonsense(`${where}.map`, 'a path')
  if (cgroup !== undefined && (tap ?? 'nbd') === 'nbd') {
    throw nonsense(`${where}.cgroup`, 'left out: it is for a path with a tap in the kernel')
  }
  if (cgroup !== undefined && (typeof cgroup !== 'string' || cgroup === '')) throw nonsense(`${where}.cgroup`, 'a path')
  const isPlain = isPath && (tap ?? 'nbd') === 'nbd'
  for (const [option, value] of Object.entries({ force, size, holes })) {
    if (isPlain || value === undefined) continue
    throw nonsense(`${where}.${option}`, 'left out: it is for a path without a tap in the kernel')
  }
  checkFlag(`${where}.force`, force)
  oneOf(`${where}.holes`, holes ?? 'auto', kHoles)
  oneOf(`${where}.tap`, tap ?? 'nbd', ['nbd', 'bpf', 'dm', 'auto'])
  return {
    source,
    name: name ?? (source instanceof Tap ? source.name : 'disk'),
    tap: source instanceof Tap ? source.kind : tap ?? 'nbd',
    ...(map !== undefined && { map }),
    ...(cgroup !== undefined && { cgroup }),
    ...(force !== undefined && { force }),
    ...(size !== undefined && { size: checkSize(`${where}.size`, size) }),
    ...(holes !== undefined && { holes })
  }
}

export function checkMigrateOptions (options: MigrateOptions): CheckedMigrateOptions {
  if (!isObject(options)) throw nonsense('options', 'an object')
  checkKeys('options', options, [
    'disks', 'destination', 'tls', 'machine', 'network', 'budgets', 'switchover', 'throttle', 'equality',
    'reuse', 'compression', 'blockSize', 'streams', 'linkTimeout', 'reconnect', 'journal', 'signal'
  ])
  if (!Array.isArray(options.disks)) throw nonsense('disks', 'a list')
  const disks = options.disks.map((disk: SourceDisk, index) => checkDisk(`disks[${index}]`, disk))
  checkNames(disks.map((disk) => disk.name))
  const taps = disks.map((disk) => disk.source).filter((source) => source instanceof Tap)
  if (new Set(taps).size !== taps.length) throw nonsense('disks', 'different taps')
  const { streams = 2, equality = true, reuse = true, switchover = 'auto' } = options
  if (!Number.isInteger(streams) || streams < 1 || streams > 16) throw nonsense('streams', 'from 1 to 16')
  checkFlag('equality', equality)
  checkFlag('reuse', reuse)
  if (!(switchover instanceof Date && !Number.isNaN(switchover.getTime()))) {
    oneOf('switchover', switchover as string, ['auto', 'manual'])
  }
  const destination = checkAddress('destination', options.destination)
  const machine = checkMachine(options.machine)
  if (disks.some(({ tap }) => tap === 'bpf') && !canPause(machine)) {
    throw nonsense('machine', 'there, with a pause(): a bpf tap stops no writer')
  }
  return {
    disks,
    ...destination,
    tls: checkTls(options.tls, 'destination', destination.host),
    machine,
    network: checkNetwork(options.network),
    budgets: checkBudgets(options.budgets ?? {}),
    sharedBandwidth: sharedIn(options.budgets ?? {}),
    switchover,
    throttle: oneOf('throttle', options.throttle ?? 'bucket', ['bucket', 'steps', 'none']),
    equality,
    reuse,
    compression: oneOf('compression', options.compression ?? 'auto', ['auto', 'on', 'off']),
    blockSize: checkBlockSize('blockSize', options.blockSize ?? 4096),
    streams,
    linkTimeoutMs: checkLinkTimeout(options.linkTimeout ?? '20s'),
    reconnectMs: checkReconnect(options.reconnect ?? '2min'),
    journal: checkJournal(options.journal),
    signal: checkSignal(options.signal)
  }
}

/** It stops writing when it is told to. */
export function canPause (machine: Machine): boolean {
  return machine.pause !== undefined || isMemoryMachine(machine)
}
