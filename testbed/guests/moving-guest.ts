// A guest whose disk is served by blockferry on both hosts, and its moves between them.

import { once } from 'node:events'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { ChildProcess } from 'node:child_process'
import type { MigrationEvent } from '../../lib/index.js'
import type { Report } from '../../lib/index.js'
import { placeGuestImage } from './image.js'
import { Guest, type GuestOptions } from './guest.js'
import { guestAddress, secondGuestAddress, type Host, type Hosts } from '../hosts/hosts.js'
import { end, start } from '../support/process.js'

const program = new URL('../../lib/cli.js', import.meta.url).pathname
const disk = 'disk'

export interface MovingGuestOptions {
  /** Default: 1 GiB. */
  readonly diskBytes?: number
  /** Default: 64 MiB. */
  readonly contentBytes?: number
  /** Default: 256. */
  readonly memoryMiB?: number
  /** Where a folder for its disks and sockets is made. Default: the system's temporary folder. */
  readonly folder?: string
  /** Of both ends of a move, like '2s'. Default: theirs. */
  readonly linkTimeout?: string
  /** It is the second one on these hosts, with another address. Default: false. */
  readonly second?: boolean
  /** A move that takes longer is killed, ms. Default: none is. */
  readonly patienceMs?: number
}

/** `blockferry` in a host's namespace; its events come one by one. */
export class Command {
  readonly child: ChildProcess
  readonly events: Array<Record<string, unknown> & { event: string }> = []
  readonly ended: Promise<number | null>
  #errors = ''
  #look: Array<() => void> = []

  /** It is killed after `patienceMs`. */
  constructor (namespace: string, args: readonly string[], patienceMs?: number) {
    const command = [process.execPath, program, ...args, '--json']
    this.child = start(command, { namespace, stdio: ['ignore', 'pipe', 'pipe'] })
    const lines = createInterface(this.child.stdout!)
    lines.on('line', (line) => {
      this.events.push(JSON.parse(line))
      this.#wake()
    })
    this.child.stderr!.on('data', (text) => (this.#errors += text))
    const timer = patienceMs === undefined ? undefined : setTimeout(() => this.kill(), patienceMs)
    this.ended = once(this.child, 'close').then(([code]) => {
      clearTimeout(timer)
      this.#wake()
      return code
    })
  }

  /** What it said last: the end of its events, and its error output. */
  get lastWords (): string {
    const last = this.events.filter(({ event }) => event !== 'progress').slice(-5)
    const words = [...last, this.events.at(-1)].map((event) => JSON.stringify(event))
    return `${words.join('\n')}\n${this.#errors}`
  }

  /** Waits for an event of that name (and for which `fits` holds). */
  async event (name: string, fits = (_event: any) => true): Promise<any> {
    for (;;) {
      const found = this.events.find((event) => event.event === name && fits(event))
      if (found !== undefined) return found
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`blockferry ended before ${name}: ${this.lastWords}`)
      }
      await new Promise<void>((resolve) => this.#look.push(resolve))
    }
  }

  async kill (signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await end(this.child, signal)
  }

  #wake (): void {
    for (const look of this.#look.splice(0)) look()
  }
}

/** A host's share of the guest: the file, the serve, and QEMU when there is one. */
export class Side {
  readonly host: Host
  readonly image: string
  readonly nbdSocket: string
  readonly control: string
  serve: Command
  guest: Guest | null = null

  constructor (host: Host, folder: string, letter: string, away: boolean) {
    this.host = host
    this.image = join(folder, `${letter}.img`)
    this.nbdSocket = join(folder, `${letter}.nbd`)
    this.control = join(folder, `${letter}.control`)
    this.serve = this.#start(away)
  }

  /** A new serve after the last one was killed; `away`: it does not own the disk. */
  async serveAgain (away: boolean): Promise<void> {
    this.serve = this.#start(away)
    await this.serve.event('serving')
  }

  #start (away: boolean): Command {
    return new Command(this.host.namespace, [
      ...['serve', '--disk', `${disk}=${this.image}`, '--listen', `unix:${this.nbdSocket}`],
      ...['--control', this.control, ...(away ? ['--away'] : [])]
    ])
  }
}

/** What a move can be given; options are those of `blockferry send`. */
export interface Move {
  readonly send: Command
  readonly receive: Command
  /** Resolves with the report, or rejects with the error's code. */
  done(): Promise<Report>
}

export class MovingGuest {
  readonly #folder: string
  readonly #memoryMiB: number
  readonly #linkOptions: readonly string[]
  readonly #isSecond: boolean
  readonly #patienceMs: number | undefined
  /** Where clients reach it. */
  readonly address: string
  #starts = 0
  here: Side
  there: Side

  /** On host A, ready; host B has an empty file of the same size. */
  static async boot (hosts: Hosts, options: MovingGuestOptions = {}): Promise<MovingGuest> {
    const { diskBytes = 2 ** 30, contentBytes = 2 ** 26 } = options
    const folder = mkdtempSync(join(options.folder ?? tmpdir(), 'guest-'))
    await placeGuestImage(join(folder, 'a.img'), { diskBytes, contentBytes })
    writeFileSync(join(folder, 'b.img'), '')
    truncateSync(join(folder, 'b.img'), diskBytes)
    const here = new Side(hosts.a, folder, 'a', false)
    const there = new Side(hosts.b, folder, 'b', true)
    const moving = new MovingGuest(folder, options, here, there)
    try {
      await Promise.all([here.serve.event('serving'), there.serve.event('serving')])
      here.guest = await moving.#start(here, false)
      await here.guest.waitReady(`http://${moving.address}/`, hosts.client)
    } catch (error) {
      await moving.close()
      throw error
    }
    return moving
  }

  private constructor (folder: string, options: MovingGuestOptions, here: Side, there: Side) {
    const { memoryMiB = 256, linkTimeout, second = false, patienceMs } = options
    this.#patienceMs = patienceMs
    this.#isSecond = second
    this.address = second ? secondGuestAddress : guestAddress
    this.#folder = folder
    this.#memoryMiB = memoryMiB
    this.#linkOptions = linkTimeout === undefined ? [] : ['--link-timeout', linkTimeout]
    this.here = here
    this.there = there
  }

  async #start ({ host, nbdSocket }: Side, incoming: boolean): Promise<Guest> {
    return Guest.start({
      ...{ namespace: host.namespace, folder: this.#folder, name: `g${++this.#starts}` },
      ...{ nbdSocket, nbdExport: disk, ...this.#network(host) },
      ...{ memoryMiB: this.#memoryMiB, incoming, reconnectSeconds: 10 }
    })
  }

  #network ({ tapDevice, secondTapDevice }: Host): Pick<GuestOptions, 'tapDevice' | 'address' | 'mac'> {
    const address = `${this.address}/24`
    if (!this.#isSecond) return { tapDevice, address }
    return { tapDevice: secondTapDevice, address, mac: '52:54:00:bf:00:02' }
  }

  /** Starts a QEMU that waits on the other host. */
  async prepareThere (): Promise<Guest> {
    await this.there.guest?.kill()
    this.there.guest = await this.#start(this.there, true)
    await this.there.guest.untilMonitored()
    return this.there.guest
  }

  /** Begins a move to the other host, where prepareThere() was called before. */
  async begin (...options: readonly string[]): Promise<Move> {
    const { here, there } = this
    const receive = new Command(there.host.namespace, [
      ...['receive', '--control', there.control, '--listen', `${there.host.address}:0`, '--plain'],
      ...['--machine', `qemu:${there.guest!.qmpSocket}`, ...this.#linkOptions]
    ], this.#patienceMs)
    const { host, port } = await receive.event('listening')
    const send = new Command(here.host.namespace, [
      ...['send', '--control', here.control, '--to', `${host}:${port}`, '--plain', '--reconnect', '0'],
      ...['--machine', `qemu:${here.guest!.qmpSocket}`, ...this.#linkOptions, ...options]
    ], this.#patienceMs)
    return { send, receive, done: () => this.#done(send, receive) }
  }

  /** Moves and waits for the end; then `here` is the other host. */
  async move (...options: readonly string[]): Promise<Report> {
    await this.prepareThere()
    return (await this.begin(...options)).done()
  }

  async #done (send: Command, receive: Command): Promise<Report> {
    const code = await send.ended
    const last = send.events.at(-1) as unknown as MigrationEvent | undefined
    if (last?.event !== 'done') {
      const { code: word, message } = (last as any)?.error ?? {}
      const words = word === undefined ? send.lastWords : `${word}: ${message}`
      throw Object.assign(new Error(`send ended with ${code}: ${words}`), { code: word })
    }
    await receive.ended
    ;[this.here, this.there] = [this.there, this.here]
    await this.there.guest?.kill()
    this.there.guest = null
    return last.report
  }

  async close (): Promise<void> {
    for (const { guest, serve } of [this.here, this.there]) {
      await guest?.kill()
      await serve.kill()
    }
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
