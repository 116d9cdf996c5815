// The options of receive(): defaults, units, and what is nonsense.
import type { Machine } from '../machine/machine.js'
import type { Network } from '../network/network.js'
import type { NbdServer } from '../nbd/server.js'
import type { Journal } from '../ownership/journal.js'
import { Tap } from '../tap/tap.js'
import type { Holes } from '../tap/holes.js'
import { kHoles } from '../tap/holes.js'
import {
  checkAddress, checkJournal, checkLinkTimeout, checkMachine, checkNames, checkNetwork
} from '../session/option-checks.js'
import { checkFlag, checkKeys, checkSignal, isObject, nonsense, oneOf } from '../base/check.js'
import type { TlsOptions, Welcome } from '../base/tls.js'
import { checkTls } from '../base/tls.js'

export interface DestinationDisk {
  /** A path (a missing file is created with the source's size) or a tap. One that is larger is the disk only
   * up to its size; what lies behind is not touched, and is not served. A device that a 'dm' tap has fenced
   * since its disk has moved is unfenced when a disk comes: BUSY while somebody has it open, REFUSED when it is
   * not known that the disk has moved. */
  destination: Tap | string
  /** The name that the source must use. Default: the tap's name, or 'disk'. */
  name?: string
  /** O_DIRECT for a path. Default false. */
  direct?: boolean
  /** Of a path: take it although another program has it open for writing (see TapOptions), else BUSY, or
   * although it goes by the name of the source's own storage or holds what that is found to hold, else REFUSED;
   * and of a larger device for a machine that opens it itself (Xen), which sees all of it, else BAD_SIZE. Default
   * false. */
  force?: boolean
  /** Take all the space that the disk can need before it comes: NO_SPACE then, and not in the middle;
   * UNSUPPORTED where a file system can't. A block device has what it has: its zeroes are written then, where
   * it might otherwise give space back. Default false: a file that has all of its space keeps it, others are
   * as sparse as the disk. */
  allocate?: boolean
  /** Of a path: whether its holes are read (see TapOptions). Default 'auto'. */
  holes?: Holes
}

export interface ReceiveOptions {
  disks: readonly DestinationDisk[]
  /** 'HOST:PORT'; port 0 takes a free one. Default '127.0.0.1:0'. */
  listen?: string | { host: string, port: number }
  /** As in MigrateOptions. With it nobody gets further than the handshake without a key. */
  tls?: TlsOptions | false
  /** Resumed when this side owns the disks; one whose memory moves must wait for that here. */
  machine?: Machine
  /** Takes the machine's connections along, this site's half: redirect({ role: 'new', … }) or hooks
   * of your own. */
  network?: Network
  /** Offer each disk here as soon as it is owned here. */
  serve?: NbdServer
  /** A peer that is silent for so long is gone. Default '20s', at least 1 s. */
  linkTimeout?: number | string
  /** As in MigrateOptions. */
  journal?: string | Journal
  signal?: AbortSignal
}

export interface CheckedReceiveOptions {
  disks: ReadonlyArray<{
    destination: Tap | string
    name: string
    direct: boolean
    force: boolean
    allocate: boolean
    holes: Holes
  }>
  host: string
  port: number
  tls: Welcome
  machine: Machine
  network: Network | null
  serve: NbdServer | null
  linkTimeoutMs: number
  journal: string | Journal | null
  signal: AbortSignal | null
}

export function checkReceiveOptions (options: ReceiveOptions): CheckedReceiveOptions {
  if (!isObject(options)) throw nonsense('options', 'an object')
  checkKeys('options', options, [
    'disks', 'listen', 'tls', 'machine', 'network', 'serve', 'linkTimeout', 'journal', 'signal'
  ])
  if (!Array.isArray(options.disks)) throw nonsense('disks', 'a list')
  const disks = options.disks.map((disk: DestinationDisk, index) => {
    const given = isObject(disk) ? disk : {} as DestinationDisk
    const { destination, name, direct = false, force = false, allocate = false, holes } = given
    const isPath = typeof destination === 'string' && destination !== ''
    if (!isPath && !(destination instanceof Tap)) throw nonsense(`disks[${index}].destination`, 'a Tap or a path')
    checkFlag(`disks[${index}].force`, force)
    checkFlag(`disks[${index}].allocate`, allocate)
    if (force && !isPath) throw nonsense(`disks[${index}].force`, 'left out: the destination is a Tap')
    if (holes !== undefined && !isPath) throw nonsense(`disks[${index}].holes`, 'left out: the destination is a Tap')
    oneOf(`disks[${index}].holes`, holes ?? 'auto', kHoles)
    const own = destination instanceof Tap ? destination.name : 'disk'
    return { destination, name: name ?? own, direct, force, allocate, holes: holes ?? 'auto' }
  })
  checkNames(disks.map((disk) => disk.name))
  const listen = checkAddress('listen', options.listen ?? '127.0.0.1:0')
  return {
    disks,
    ...listen,
    tls: checkTls(options.tls, 'listen', listen.host),
    machine: checkMachine(options.machine),
    network: checkNetwork(options.network),
    serve: options.serve ?? null,
    linkTimeoutMs: checkLinkTimeout(options.linkTimeout ?? '20s'),
    journal: checkJournal(options.journal),
    signal: checkSignal(options.signal)
  }
}
