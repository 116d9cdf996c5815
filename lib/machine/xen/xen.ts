// Xen domains by xl. Live where the hypervisor can tell which memory was written meanwhile, else
// stopped for all of it.
//
// xl decides itself when it suspends the domain: after a few passes, whatever is left. So the memory
// begins when the disks are ready, and they are kept so beside it. The word that lets the machine run
// is the migration's own: until it is given the domain waits paused at the destination, and that of the
// source is past the point at which xl would let it run by itself.
import type {
  MachineDescription, MemoryMachine, MemoryProgress
} from '../machine.js'
import { ColdDestination, ColdSource } from './cold.js'
import { DomainWatch } from './domain-watch.js'
import { LiveDestination, LiveSource } from './live.js'
import type { DestinationTransfer, SourceTransfer } from './transfer.js'
import type { Domain, DomainType } from './xl.js'
import { backendsOf, configOf, findDomain, hostInfo, refuse, runningDomain } from './xl.js'
import { BlockferryError } from '../../base/errors.js'

export interface XenOptions {
  /** The domain's name: at the source that of one that runs, at the destination of none. */
  domain: string
  /** At the source. 'live': the domain runs while its memory is sent, MACHINE where the hypervisor can't
   * do that. 'cold': it is stopped for all of it. 'auto': live where that can be had. Default 'auto'. */
  memory?: 'auto' | 'live' | 'cold'
}

type Way = 'live' | 'cold'

export class XenMachine implements MemoryMachine {
  readonly #name: string
  readonly #wanted: 'auto' | Way
  #way: Way = 'live'
  #domain: Domain | null = null
  #watch: DomainWatch | null = null
  #source: SourceTransfer | null = null
  #destination: DestinationTransfer | null = null
  #lose: (reason: Error) => void = () => {}

  constructor ({ domain, memory = 'auto' }: XenOptions) {
    this.#name = domain
    this.#wanted = memory
  }

  /** One that was paused by others is not moved. */
  get running (): boolean {
    return true
  }

  /** xl sees to that when what it sends to is gone. */
  get goesOnByItself (): boolean {
    return true
  }

  get opensDisks (): boolean {
    return true
  }

  /** How its memory travels, known from prepare() or expect() on. */
  get way (): Way {
    return this.#way
  }

  async prepare (): Promise<MachineDescription> {
    await this.close()
    const domain = this.#domain = await runningDomain(this.#name)
    if (domain.id === 0) throw refuse('the host itself can\'t be moved')
    await this.#checkNothingLeft()
    const { type, disks } = await configOf(domain.id)
    await checkDisks(domain.id, disks)
    const { xen_version: version = '', virt_caps: able = '' } = Object.fromEntries(await hostInfo())
    this.#way = this.#choose(type, able.split(' '))
    this.#watch = new DomainWatch(domain.id, this.#way === 'cold')
    return { kind: 'xen', memory: domain.memory, name: this.#name, type, way: this.#way, version }
  }

  /** Also when what has arrived is no more before it was let run. */
  async untilGone (): Promise<Error> {
    if (this.#watch === null) return await new Promise((resolve) => { this.#lose = resolve })
    await this.#watch.gone()
    return refuse(`${this.#name} has ended`)
  }

  async sendMemory (socket: string): Promise<void> {
    this.#source = this.#way === 'live' ? new LiveSource(this.#name) : new ColdSource(this.#name)
    await this.#source.start(socket)
  }

  /** xl does not tell how much was written meanwhile. */
  async memoryProgress (): Promise<MemoryProgress> {
    const size = this.#domain!.memory
    const sent = await this.#source!.sent()
    return { remaining: Math.max(0, size - sent), size, dirtyRate: null, passes: 1, throttle: 0 }
  }

  async untilPaused (): Promise<void> {
    const seen = await Promise.race([this.#watch!.seen(), this.#source!.failed])
    if (seen === 'suspended') return
    throw refuse(seen === 'gone' ? `${this.#name} has ended` : seen)
  }

  async finishMemory (): Promise<void> {
    await this.#source!.handOver()
  }

  async expect (description: MachineDescription): Promise<void> {
    await this.close()
    const { kind, memory, name, way } = description
    if (kind !== 'xen') throw refuse(`a machine of kind ${kind} can't go on in Xen`)
    if (name !== this.#name) throw refuse(`${name} is offered, ${this.#name} is expected`)
    if (way !== 'live' && way !== 'cold') throw refuse('the other side sends it in an unknown way')
    if (await findDomain(this.#name) !== null) throw refuse(`there is a ${this.#name} at the destination already`)
    await this.#checkNothingLeft()
    await checkMemory(memory)
    this.#way = way
  }

  async receiveMemory (socket: string): Promise<void> {
    this.#destination = this.#way === 'live' ? new LiveDestination(this.#name) : new ColdDestination(this.#name)
    await this.#destination.start(socket)
  }

  async untilArrived (): Promise<void> {
    const destination = this.#destination!
    await destination.untilHere()
    void destination.untilLost().then(() => {
      if (this.#destination === destination) this.#lose(refuse(`${this.#name} is no more at the destination`))
    })
  }

  async resume (): Promise<void> {
    if (this.#destination === null) return await this.#source?.undo()
    const destination = this.#destination
    this.#lose = () => {} // its keeper ends with it
    await destination.go()
  }

  async release (): Promise<void> {
    this.#watch?.close()
    await this.#source?.release()
  }

  async discard (): Promise<void> {
    await this.#destination?.undo()
  }

  async resolveLeftover (isHere: boolean): Promise<boolean> {
    const destination = await LiveDestination.left(this.#name)
    const source = destination === null ? await this.#leftSource() : null
    this.#destination = destination
    this.#source = source
    if (isHere) await this.resume()
    else await (destination === null ? this.release() : this.discard())
    await this.close()
    return destination !== null || source !== null
  }

  async close (): Promise<void> {
    this.#watch?.close()
    this.#watch = null
    this.#source?.close()
    this.#destination?.close()
    this.#source = this.#destination = null
  }

  /** Of a move that was killed: whose domain is whose is for recover to say. */
  async #checkNothingLeft (): Promise<void> {
    const [destination, source] = [await LiveDestination.left(this.#name), await LiveSource.left(this.#name)]
    destination?.close()
    source?.close()
    if (destination === null && source === null) return
    throw refuse(`an earlier move of ${this.#name} is not over: blockferry recover --machine xen:${this.#name}`)
  }

  /** A PV domain's writes to its memory are seen by shadow page tables, others' also by nested ones. */
  #choose (type: DomainType, able: string[]): Way {
    const canLive = able.includes('shadow') || (type !== 'pv' && able.includes('hap'))
    if (this.#wanted === 'live' && !canLive) throw refuse(`this hypervisor can't move a ${type} domain live`)
    return this.#wanted === 'auto' ? (canLive ? 'live' : 'cold') : this.#wanted
  }

  async #leftSource (): Promise<SourceTransfer | null> {
    const live = await LiveSource.left(this.#name)
    if (live !== null) return live
    const domain = await findDomain(this.#name)
    return domain?.state.includes('p') === true ? new ColdSource(this.#name) : null
  }
}

/** Where dom0's memory is not fixed, xl takes from it what a domain needs. */
async function checkMemory (memory: number): Promise<void> {
  const info = await hostInfo()
  if (!info.get('xen_commandline')?.includes('dom0_mem=')) return
  const free = Number(info.get('free_memory')) * 2 ** 20
  if (free < memory) throw refuse(`it has ${memory} bytes of memory, at the destination ${free} are free`)
}

/** The kernel's backend writes to a device that a tap can watch; others' writes pass it by. */
async function checkDisks (id: number, disks: string[]): Promise<void> {
  if (disks.length === 0) throw refuse('it has no disk')
  const backends = await backendsOf(id)
  if (backends.includes('qdisk')) {
    throw refuse('QEMU serves its disk: no tap in the kernel sees that; give QEMU an nbd tap')
  }
  if (backends.some((backend) => backend.startsWith('vbd'))) return
  throw refuse('its disks are not served by the kernel (phy:)')
}

/** A Xen domain, by xl, as root in dom0: for migrate() where it runs, for receive() where its disks' devices
 * have the same paths. */
export function xen (options: XenOptions): XenMachine {
  const { domain, memory = 'auto' } = options ?? {}
  if (typeof domain !== 'string' || domain === '' || domain.startsWith('-')) {
    throw new BlockferryError('INVALID', 'domain: must be the name of a Xen domain')
  }
  if (/^\d+$/.test(domain)) {
    throw new BlockferryError('INVALID', `domain: xl takes ${domain} for a number, not for a name`)
  }
  if (!['auto', 'live', 'cold'].includes(memory)) {
    throw new BlockferryError('INVALID', "memory: must be 'auto', 'live' or 'cold'")
  }
  return new XenMachine(options)
}
