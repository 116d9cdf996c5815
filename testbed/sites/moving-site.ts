// A guest with a web server at site A, its name at a real name server, its clients, and its move to
// site B under them: what the demo and the benchmark of two sites have in common.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { Tool } from '../tools/tool.js'
import type { Report } from '../../lib/index.js'
import { placeGuestImage } from '../guests/image.js'
import { Guest } from '../guests/guest.js'
import type { LinkOptions } from '../hosts/link.js'
import { NameServer } from './name-server.js'
import { SiteClients } from './site-clients.js'
import { kFresh, kHostA, kHostB, kMachine, kName, kNames, kRouterA, Sites } from './sites.js'

/** A tunnel that does not end by itself before that shows in how it ended. */
const kDeadline = '4min'

export interface MovingSiteOptions {
  readonly family: 4 | 6
  /** Between site B and everybody else. */
  readonly link: LinkOptions
  readonly diskBytes: number
  readonly contentBytes: number
  readonly memoryMiB: number
  /** How long nothing must have used the old address before the tunnel goes. */
  readonly quiet: string
}

/** Of a redirection, with the machine's time: milliseconds since 1970. */
export interface Happened { readonly atMs: number, readonly event: any }

export class MovingSite {
  readonly sites: Sites
  readonly names: NameServer
  readonly image: string
  readonly #options: MovingSiteOptions
  readonly #folder: string
  readonly #undo: Array<() => unknown>
  #source!: Tool
  #destination!: Tool
  #port = 0
  #guest!: Guest
  #arriving!: Guest

  /** Takes root. What fails leaves nothing. */
  static async make (options: MovingSiteOptions): Promise<MovingSite> {
    const folder = mkdtempSync(join(tmpdir(), 'sites-'))
    const undo: Array<() => unknown> = [() => rmSync(folder, { recursive: true, force: true })]
    try {
      const sites = await Sites.make({ vm: true, link: options.link })
      undo.push(() => sites.close())
      const names = await NameServer.start(sites, folder)
      undo.push(() => names.stop())
      return new MovingSite(options, sites, names, folder, undo)
    } catch (error) {
      await runAll(undo)
      throw error
    }
  }

  private constructor (
    options: MovingSiteOptions, sites: Sites, names: NameServer, folder: string,
    undo: Array<() => unknown>
  ) {
    this.#options = options
    this.#folder = folder
    this.#undo = undo
    this.sites = sites
    this.names = names
    this.image = this.#at('b.img')
  }

  #at (name: string): string {
    return join(this.#folder, name)
  }

  /** The web server runs at site A. */
  async boot (): Promise<void> {
    const { sites } = this
    await placeGuestImage(this.#at('a.img'), this.#options)
    this.#source = this.#tool('a', 'source', this.#at('a.img'), this.#at('a.nbd'), this.#at('a.qmp'),
      JSON.stringify(this.#oldOptions()))
    await this.#source.next()
    this.#guest = await this.#start('a', false)
    await this.#guest.waitReady(`http://${kMachine[4]}/`, sites.client.name)
  }

  /** Site B waits for it. */
  async expect (): Promise<void> {
    writeFileSync(this.image, '')
    truncateSync(this.image, this.#options.diskBytes)
    this.#destination = this.#tool('b', 'destination', this.image, this.#at('b.nbd'),
      this.#at('b.qmp'), kHostB[4], JSON.stringify(this.#newOptions()))
    this.#port = (await this.#destination.next()).port
    this.#arriving = await this.#start('b', true)
    await this.#arriving.untilMonitored()
  }

  clients (): SiteClients {
    const clients = new SiteClients(this.sites, this.#options.family)
    this.#undo.push(() => clients.kill())
    return clients
  }

  /** Moves it; `tell` hears every event of the source. */
  async move (downtime: string, tell: (happened: Happened) => void): Promise<Report> {
    this.#source.say(`${kHostB[4]}:${this.#port} ${downtime}`)
    for await (const event of this.#source.events()) {
      tell({ atMs: Date.now(), event })
      if (event.event === 'failed') throw new Error(`${event.error.code}: ${event.error.message}`)
      if (event.event !== 'done') continue
      await this.#destination.until(({ event }) => event === 'arrived')
      await this.#guest.kill()
      return event.report
    }
    throw new Error('the source ended without a word')
  }

  /** Until the tunnel has gone. */
  async untilEnded (tell: (happened: Happened) => void): Promise<void> {
    for (;;) {
      const event = await this.#source.next()
      tell({ atMs: Date.now(), event })
      if (event.redirect?.event === 'ended') return
    }
  }

  async close (): Promise<void> {
    await runAll(this.#undo)
  }

  #tool (place: 'a' | 'b', name: 'source' | 'destination', ...args: string[]): Tool {
    const tool = new Tool(this.sites[place].name, name, ...args)
    this.#undo.push(() => tool.close())
    return tool
  }

  async #start (place: 'a' | 'b', incoming: boolean): Promise<Guest> {
    const guest = await Guest.start({
      folder: this.#folder,
      name: place,
      namespace: this.sites[place].name,
      address: `${kMachine[4]}/24`,
      gateway: kRouterA[4],
      address6: `${kMachine[6]}/64`,
      gateway6: kRouterA[6],
      tapDevice: 'guest0',
      nbdSocket: this.#at(`${place}.nbd`),
      memoryMiB: this.#options.memoryMiB,
      incoming
    })
    this.#undo.push(() => guest.kill())
    return guest
  }

  /** The machine has both families, and so has the redirection. */
  #oldOptions (): object {
    return {
      role: 'old',
      address: [kMachine[4], kMachine[6]],
      device: 'lan',
      tunnel: { local: kHostA[4], remote: kHostB[4] },
      dns: {
        name: kName, address: [kFresh[4], kFresh[6]], server: kNames, keyFile: this.names.keyFile, ttl: '2s'
      },
      quiet: this.#options.quiet,
      poll: '500ms',
      deadline: kDeadline,
      runtimeFolder: this.#at('a')
    }
  }

  #newOptions (): object {
    return {
      role: 'new',
      address: [kMachine[4], kMachine[6]],
      newAddress: [kFresh[4], kFresh[6]],
      gateway: [kRouterA[4], kRouterA[6]],
      deadline: kDeadline,
      device: 'lan',
      tunnel: { local: kHostB[4], remote: kHostA[4] },
      runtimeFolder: this.#at('b')
    }
  }
}

async function runAll (undo: Array<() => unknown>): Promise<void> {
  for (const one of undo.splice(0).reverse()) await Promise.resolve(one()).catch(() => {})
}
