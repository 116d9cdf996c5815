// QEMU machines (7.2 and newer) by their monitor.
//
// Source: `migrate` with pause-before-switchover: QEMU sends memory until what is left goes in the
// time that allowPause() grants, pauses the machine and says so; then migrate-continue sends the
// rest. Destination: started with `-incoming defer -S`; it listens when the memory is about to
// come, and stays paused until resume().
import { BlockferryError } from '../base/errors.js'
import type {
  MachineDescription, MemoryMachine, MemoryProgress, PauseLimits
} from './machine.js'
import type { QmpAddress, QmpEvent } from './qmp.js'
import { Qmp } from './qmp.js'
import { tapDevices } from './qemu-taps.js'

export interface QemuOptions {
  /** The monitor (-qmp): a Unix socket's path, or a TCP address. One connection is all it takes,
   * so give the migration a monitor of its own. */
  qmp: QmpAddress
  /** How memory travels: 'relayed' on the migration's own port, or past it from QEMU to QEMU, to
   * this migration URI ('tcp:HOST:PORT'), which both sides must be given. Default 'relayed'. */
  memory?: 'relayed' | { direct: string }
}

interface Capability { capability: string, state: boolean }
type Role = 'source' | 'destination'

/** QEMU's own limit is raised: the migration limits what the link may carry. */
const kNoLimit = 2 ** 40
/** The share of what was sent that must have been dirtied meanwhile, percent, to make QEMU slow the
 * machine down: never, and as QEMU has it by itself. */
const kNotConverging = 100
const kConverging = 50
const kEnds = ['completed', 'failed', 'cancelled']
/** A byte a ms: with 1 ms of downtime QEMU then pauses only when it has looked again, and nothing is
 * dirty. With limits of 0 it does not look again, but pauses at the end of a pass whatever was dirtied
 * in it. */
const kLeastBandwidth = 1000
/** How long QEMU may take to have its capabilities back. One that is stuck would keep a migration
 * that is given up, and the disks it holds, for as long as a monitor may be silent otherwise. */
const kGiveBackMs = 1000
/** Announces the machine's new place to the switches: rounds 50 to 550 ms apart. */
const kAnnounce = { initial: 50, max: 550, rounds: 5, step: 100 }

export class QemuMachine implements MemoryMachine {
  readonly #options: QemuOptions
  #qmp: Qmp | null = null
  #role: Role | null = null
  #status = 'none'
  #running = true
  /** QEMU stops the machine itself at the pause point; other stops are the user's. */
  #atPausePoint = false
  #wakers = new Set<() => void>()
  /** What was changed in QEMU, as it was before. */
  #foreign: Capability[] = []
  #gone: (reason: BlockferryError) => void = () => {}
  #untilGone = new Promise<BlockferryError>(() => {})

  constructor (options: QemuOptions) {
    this.#options = options
  }

  get running (): boolean {
    return this.#running
  }

  untilGone (): Promise<BlockferryError> {
    return this.#untilGone
  }

  async prepare (): Promise<MachineDescription> {
    const qmp = await this.#connect('source')
    const { status, running } = await qmp.run('query-status')
    if (!running && status !== 'paused') throw refuse(`it can't be moved while its state is ${status}`)
    this.#running = running
    const { status: before = 'none' } = await qmp.run('query-migrate')
    if (before !== 'none' && !kEnds.includes(before)) throw refuse('another migration of it is going on')
    const blocked = (await qmp.run('query-migrate'))['blocked-reasons']
    if (blocked?.length > 0) throw refuse(`it can't be moved: ${blocked.join('; ')}`)
    await this.#setCapabilities({ events: true, 'pause-before-switchover': true, 'auto-converge': true })
    return await this.#describe()
  }

  async sendMemory (socket: string): Promise<void> {
    const qmp = this.#connected()
    await qmp.run('migrate-set-parameters', {
      'max-bandwidth': kNoLimit, 'throttle-trigger-threshold': kNotConverging
    })
    await this.allowPause({ downtimeMs: 0, bytesPerSecond: 0 })
    this.#status = 'setup'
    await qmp.run('migrate', { uri: this.#uri(socket) })
  }

  async memoryProgress (): Promise<MemoryProgress> {
    const info = await this.#connected().run('query-migrate')
    const ram = info.ram ?? {}
    const pageSize = ram['page-size'] ?? 4096
    const passes = ram['dirty-sync-count'] ?? 0
    return {
      remaining: ram.remaining ?? 0,
      size: ram.total ?? 0,
      // Before the second pass QEMU has nothing to compare with.
      dirtyRate: passes > 1 ? (ram['dirty-pages-rate'] ?? 0) * pageSize : null,
      passes,
      throttle: (info['cpu-throttle-percentage'] ?? 0) / 100
    }
  }

  async allowPause ({ downtimeMs, bytesPerSecond }: PauseLimits): Promise<void> {
    const qmp = this.#connected()
    const limit = { 'downtime-limit': Math.max(1, Math.round(downtimeMs)) }
    const bandwidth = downtimeMs === 0 ? kLeastBandwidth : Math.max(kLeastBandwidth, Math.round(bytesPerSecond))
    try {
      await qmp.run('migrate-set-parameters', { ...limit, 'avail-switchover-bandwidth': bandwidth })
    } catch (error) {
      if (qmp.closed) throw error
      // Before 8.2 QEMU goes by the rate at which it could send lately.
      await qmp.run('migrate-set-parameters', limit)
    }
  }

  /** QEMU's auto-converge: it takes 20 % of the processor's time from the machine, then more. */
  async slowDown (on: boolean): Promise<void> {
    await this.#connected().run('migrate-set-parameters', {
      'throttle-trigger-threshold': on ? kConverging : kNotConverging
    })
  }

  async untilPaused (): Promise<void> {
    await this.#until('pre-switchover')
  }

  async finishMemory (): Promise<void> {
    await this.#connected().run('migrate-continue', { state: 'pre-switchover' })
    await this.#until('completed')
  }

  async expect (description: MachineDescription): Promise<void> {
    const qmp = await this.#connect('destination')
    const { status } = await qmp.run('query-status')
    if (status !== 'inmigrate') {
      throw refuse(`the destination's is not waiting for a machine (its state is ${status}): start it with ` +
        '-incoming defer -S')
    }
    const own = await this.#describe()
    const { kind, type, memory } = description
    if (kind !== own.kind) throw refuse(`a machine of kind ${kind} can't go on in QEMU`)
    if (type !== own['type']) throw refuse(`the machine types differ: ${type}, and ${own['type']} at the destination`)
    if (memory !== own.memory) {
      throw refuse(`the memory sizes differ: ${memory} bytes, and ${own.memory} at the destination`)
    }
    await this.#checkBridges(description.unbridged)
    await this.#setCapabilities({ events: true, 'late-block-activate': true })
  }

  async receiveMemory (socket: string): Promise<void> {
    await this.#connected().run('migrate-incoming', { uri: this.#uri(socket) })
  }

  async untilArrived (): Promise<void> {
    await this.#until('completed')
  }

  async resume (): Promise<void> {
    if (this.#role === 'destination') await this.#goOnHere()
    else await this.#takeBack()
  }

  async close (): Promise<void> {
    const qmp = this.#qmp
    this.#qmp = null
    this.#wake()
    // A migration that its user begins later must not stop at our pause point.
    if (qmp !== null && this.#foreign.length > 0) {
      await qmp.run('migrate-set-capabilities', { capabilities: this.#foreign }, kGiveBackMs)
        .catch(() => {})
    }
    this.#foreign = []
    qmp?.close()
  }

  async #goOnHere (): Promise<void> {
    const qmp = this.#connected()
    await qmp.run('cont')
    // Not worth failing for: the machine's own packets do the same.
    await qmp.run('announce-self', kAnnounce).catch(() => {})
  }

  /** Ends a migration that is going on, and lets the machine run if it ran before. */
  async #takeBack (): Promise<void> {
    const qmp = this.#connected()
    const { status = 'none' } = await qmp.run('query-migrate')
    if (status !== 'none' && !kEnds.includes(status)) {
      await qmp.run('migrate_cancel')
      await this.#until('cancelled', ['completed', 'failed'])
    }
    const now = await qmp.run('query-status')
    if (this.#running && !now.running) await qmp.run('cont')
  }

  #uri (socket: string): string {
    const { memory = 'relayed' } = this.#options
    return memory === 'relayed' ? `unix:${socket}` : memory.direct
  }

  async #describe (): Promise<MachineDescription> {
    const qmp = this.#connected()
    const type = await qmp.run('qom-get', { path: '/machine', property: 'type' })
    const { 'base-memory': memory } = await qmp.run('query-memory-size-summary')
    const taps = await tapDevices(qmp)
    const unbridged = taps.filter(({ bridge }) => bridge === null).length
    return { kind: 'qemu', type, memory, ...(taps.length > 0 && { unbridged }) }
  }

  /** The machine's neighbours would not find it. */
  async #checkBridges (unbridged = Infinity): Promise<void> {
    const alone = (await tapDevices(this.#connected())).filter(({ bridge }) => bridge === null)
    if (alone.length <= unbridged) return
    const names = alone.map(({ name }) => name).join(', ')
    throw refuse(`the destination's ${names} is on no bridge (of the source's devices ${unbridged} are on none)`)
  }

  async #setCapabilities (wanted: Record<string, boolean>): Promise<void> {
    const qmp = this.#connected()
    const known: Capability[] = await qmp.run('query-migrate-capabilities')
    const names = new Set(known.map(({ capability }) => capability))
    const lacking = Object.keys(wanted).find((name) => !names.has(name))
    if (lacking !== undefined) throw refuse(`it is too old to be moved: it has no ${lacking}`)
    this.#foreign = known.filter(({ capability, state }) => (
      capability in wanted && wanted[capability] !== state))
    await qmp.run('migrate-set-capabilities', {
      capabilities: Object.entries(wanted).map(([capability, state]) => ({ capability, state }))
    })
  }

  async #connect (role: Role): Promise<Qmp> {
    await this.close()
    const qmp = await Qmp.connect(this.#options.qmp)
    this.#qmp = qmp
    this.#untilGone = new Promise((resolve) => { this.#gone = resolve })
    this.#role = role
    this.#status = 'none'
    this.#atPausePoint = false
    qmp.on('event', (event: QmpEvent) => this.#onEvent(event))
    qmp.on('closed', (reason: BlockferryError) => {
      this.#wake()
      if (this.#qmp === qmp) this.#gone(reason)
    })
    return qmp
  }

  #connected (): Qmp {
    if (this.#qmp === null) throw refuse('its monitor is not connected')
    return this.#qmp
  }

  #onEvent ({ event, data }: QmpEvent): void {
    if (event === 'MIGRATION') {
      this.#status = data['status']
      if (this.#status === 'pre-switchover') this.#atPausePoint = true
    }
    // The stop before the pause point comes ahead of the word about it.
    if (event === 'RESUME') this.#running = true
    if (event === 'STOP' && this.#role === 'source') void this.#onStop()
    this.#wake()
  }

  /** Somebody paused the machine, unless this is the stop at the pause point. */
  async #onStop (): Promise<void> {
    if (this.#qmp === null) return
    const { status } = await this.#qmp.run('query-status').catch(() => ({ status: '' }))
    if (status === 'paused' && !this.#atPausePoint) this.#running = false
  }

  #wake (): void {
    for (const wake of this.#wakers) wake()
  }

  /** Resolves when the migration has this status; MACHINE when it ends in another way. */
  async #until (status: string, or: string[] = []): Promise<void> {
    const qmp = this.#connected()
    while (this.#status !== status && !or.includes(this.#status)) {
      if (qmp.closed) throw refuse('its monitor has closed')
      if (kEnds.includes(this.#status)) throw await this.#failure(qmp)
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#wakers.delete(wake)
          resolve()
        }
        this.#wakers.add(wake)
      })
    }
  }

  async #failure (qmp: Qmp): Promise<BlockferryError> {
    const { 'error-desc': reason = 'QEMU gives no reason' } = await qmp.run('query-migrate').catch(() => ({}))
    const what = this.#role === 'source' ? 'sending' : 'receiving'
    return refuse(`${what} its memory ${this.#status}: ${reason}`)
  }
}

function refuse (words: string): BlockferryError {
  return new BlockferryError('MACHINE', `QEMU machine: ${words}`)
}

/** A QEMU machine, by its monitor: for migrate() where it runs, for receive() where one was started
 * with `-incoming defer -S`. */
export function qemu (options: QemuOptions): QemuMachine {
  const { qmp, memory = 'relayed' } = options ?? {}
  if (typeof qmp !== 'string' && !(typeof qmp?.host === 'string' && Number.isInteger(qmp?.port))) {
    throw new BlockferryError('INVALID', 'qmp: must be the path of a Unix socket or a TCP address')
  }
  if (memory !== 'relayed' && typeof memory?.direct !== 'string') {
    throw new BlockferryError('INVALID', "memory: must be 'relayed' or a migration URI")
  }
  return new QemuMachine(options)
}
