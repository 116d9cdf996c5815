// What the tests of redirect() have in common: the sites, a machine that serves, and a site's
// options.
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

import { tryRun } from '../support/command.js'
import { end, start } from '../support/process.js'
import { Site } from './site.js'
import { kFresh, kHostA, kHostB, kMachine, kRouterA, Sites } from './sites.js'

/** Why the tests can't run here, or false. */
export async function missing (): Promise<string | false> {
  if (process.getuid?.() !== 0) return 'needs root'
  for (const program of ['ip', 'nft', 'conntrack', 'named', 'nsupdate', 'setpriv']) {
    if (await tryRun('which', program) === undefined) return `needs ${program}`
  }
  return false
}

export const urlOf = (address: string) => address.includes(':') ? `http://[${address}]` : `http://${address}`

/** All of a host that redirect() can change. */
export const kLook = [
  'ip rule', 'ip -6 rule', 'ip -br link', 'ip -br address', 'nft list ruleset',
  'ip route show table all', 'ip neigh show proxy', 'ip -6 neigh show proxy',
  'cat /proc/sys/net/ipv4/conf/lan/proxy_arp /proc/sys/net/ipv6/conf/all/proxy_ndp',
  'cat /proc/sys/net/ipv4/conf/lan/src_valid_mark'
].join('; ')

/** Options of the tunnel at a site, besides the addresses. */
export type TunnelOf = (role: 'old' | 'new') => object

export interface Pair {
  readonly oldSite: Site
  readonly newSite: Site
}

export class Setting {
  readonly sites: Sites
  readonly folder: string
  readonly #test: Test
  readonly #tunnelOf: TunnelOf

  /** A machine at A that serves; all goes with the test. */
  static async make (t: Test, tunnelOf: TunnelOf = () => ({})): Promise<Setting> {
    const folder = mkdtempSync(join(tmpdir(), 'redirect-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    const sites = await Sites.make()
    t.teardown(() => sites.close())
    const program = new URL('./programs/server.js', import.meta.url).pathname
    const server = start([process.execPath, program], {
      namespace: sites.machine.name, stdio: ['ignore', 'pipe', 'inherit']
    })
    t.teardown(() => end(server))
    await once(server.stdout!, 'data')
    return new Setting(t, sites, folder, tunnelOf)
  }

  private constructor (test: Test, sites: Sites, folder: string, tunnelOf: TunnelOf) {
    this.#test = test
    this.#tunnelOf = tunnelOf
    this.sites = sites
    this.folder = folder
  }

  /** Of `runtimeFolder` at a site. */
  state (place: 'a' | 'b'): string {
    return join(this.folder, place)
  }

  oldOptions (families: ReadonlyArray<4 | 6> = [4]): object {
    return {
      role: 'old',
      address: families.map((family) => kMachine[family]),
      device: 'lan',
      tunnel: { local: kHostA[4], remote: kHostB[4], ...this.#tunnelOf('old') },
      quiet: '3s',
      poll: '200ms',
      runtimeFolder: this.state('a')
    }
  }

  newOptions (families: ReadonlyArray<4 | 6> = [4]): object {
    return {
      role: 'new',
      address: families.map((family) => kMachine[family]),
      device: 'lan',
      tunnel: { local: kHostB[4], remote: kHostA[4], ...this.#tunnelOf('new') },
      newAddress: families.map((family) => kFresh[family]),
      gateway: families.map((family) => kRouterA[family]),
      runtimeFolder: this.state('b')
    }
  }

  site (place: 'a' | 'b', options: object): Site {
    const site = new Site(this.sites[place].name, options)
    this.#test.teardown(() => site.kill())
    return site
  }

  /** Both sites prepared, and the tunnel tried. */
  async prepared (
    families: ReadonlyArray<4 | 6> = [4], old: object = {}, fresh: object = {}
  ): Promise<Pair> {
    const newSite = this.site('b', { ...this.newOptions(families), ...fresh })
    this.#test.equal(await newSite.call('prepare'), null)
    const oldSite = this.site('a', { ...this.oldOptions(families), ...old })
    this.#test.equal(await oldSite.call('prepare'), null)
    this.#test.equal(await oldSite.call('verify'), null)
    return { oldSite, newSite }
  }

  /** The machine moves, and its packets with it. */
  async move ({ oldSite, newSite }: Pair): Promise<void> {
    await this.sites.plug('b')
    const answers = await Promise.all([oldSite.call('switchOver'), newSite.call('switchOver')])
    this.#test.same(answers, [null, null])
  }

  /** All of a host that redirect() can change. */
  async network (place: 'a' | 'b'): Promise<string> {
    return await this.sites[place].run('sh', '-c', kLook)
  }

  /** What the machine answers a client at this address. */
  async ask (address: string): Promise<string> {
    return await this.#fetch(`await (await fetch('${urlOf(address)}/')).text()`)
  }

  /** Sends so many bytes to the machine; answers how many came. */
  async upload (address: string, bytes: number): Promise<number> {
    const body = `{ method: 'POST', body: Buffer.alloc(${bytes}) }`
    return Number(await this.#fetch(`await (await fetch('${urlOf(address)}/', ${body})).text()`))
  }

  async #fetch (code: string): Promise<string> {
    const program = `process.stdout.write(${code})`
    const child = start([process.execPath, '--input-type=module', '-e', program], {
      namespace: this.sites.client.name, stdio: ['ignore', 'pipe', 'inherit']
    })
    let text = ''
    child.stdout!.setEncoding('utf8').on('data', (part: string) => { text += part })
    await once(child, 'close')
    return text
  }
}
