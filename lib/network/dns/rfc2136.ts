// Dynamic DNS by RFC 2136, signed by TSIG: for a name server of one's own (BIND, Knot, …).
import { isIP, isIPv6 } from 'node:net'
import { Resolver } from 'node:dns/promises'

import { nonsense } from '../../base/check.js'
import { BlockferryError } from '../../base/errors.js'
import { parseHostPort, parseTime } from '../../base/units.js'
import type { Addresses } from '../addresses.js'
import { addressesOf, canonical } from '../addresses.js'
import type { Family } from '../ip.js'
import type { NameService, NameServiceState } from './name-service.js'
import { update } from './nsupdate.js'

export interface Rfc2136Options {
  /** The machine's name: 'www.example.org'. */
  name: string
  /** What it gets: one of each family at most. A family that is not here stays as it is. */
  address: string | readonly string[]
  /** The primary server of the zone: 'ADDRESS' or 'ADDRESS:PORT'. */
  server: string
  /** Default: what nsupdate finds. */
  zone?: string
  /** The file with the TSIG key, as tsig-keygen writes it. Default: unsigned. */
  keyFile?: string
  /** The TTL from prepare() until all has settled; seconds or a text. Default '5s'. */
  ttl?: number | string
  /** A server that has not answered by then is not there. Default '5s'. */
  timeout?: number | string
}

/** A name's addresses of one family, as they were. */
interface Had { family: Family, from: string, to: string, ttl: number }
interface Learned { had: Had[], loweredAt: number }

const kDefaultPort = 53

export class Rfc2136 implements NameService {
  readonly #options: Rfc2136Options
  readonly #to: Addresses
  readonly #server: { host: string, port: number }
  readonly #ttl: number
  readonly #timeoutMs: number
  #learned: Learned | null
  /** ms of performance.now(): the wall clock may be set meanwhile. */
  #loweredAt: number

  /** For rfc2136(). */
  constructor (options: Rfc2136Options, learned: Learned | null = null) {
    const { name, keyFile, zone } = options
    for (const [option, text] of Object.entries({ name, keyFile, zone })) {
      if (text !== undefined && !/^[^\s;"]+$/.test(text)) throw nonsense(`dns.${option}`, 'a text without spaces, quotes and ";"')
    }
    if (typeof name !== 'string') throw nonsense('dns.name', 'a name')
    this.#options = options
    this.#to = addressesOf('dns.address', options.address)
    this.#server = serverOf(options.server)
    this.#ttl = Math.ceil(parseTime('dns.ttl', seconds(options.ttl ?? '5s')) / 1000)
    this.#timeoutMs = parseTime('dns.timeout', options.timeout ?? '5s')
    this.#learned = learned
    const age = learned === null ? 0 : Math.max(0, Date.now() - learned.loweredAt)
    this.#loweredAt = performance.now() - age
  }

  get staleMs (): number {
    const longest = Math.max(0, ...this.#had().map(({ ttl }) => ttl * 1000))
    return Math.max(this.#ttl * 1000, longest - (performance.now() - this.#loweredAt))
  }

  state (): NameServiceState {
    return { kind: 'rfc2136', options: this.#options, learned: this.#learned }
  }

  async prepare (from: readonly string[]): Promise<void> {
    const had: Had[] = []
    for (const family of [4, 6] as const) {
      const to = this.#to[family]
      const old = from.find((address) => (isIPv6(address) ? 6 : 4) === family)
      if (to === null || old === undefined) continue
      had.push({ family, from: old, to, ttl: await this.#ttlOf(family, old) })
    }
    this.#learned = { had, loweredAt: Date.now() }
    this.#loweredAt = performance.now()
    try {
      await this.#set(had.map((one) => (
        { ...one, remove: [one.from], add: one.from, ttl: this.#ttl })))
    } catch (error) {
      // A late server may have lowered the TTL all the same: that much harm is bearable.
      await this.undo().catch(() => {})
      this.#learned = null
      throw error
    }
  }

  async switchOver (): Promise<void> {
    await this.#set(this.#had().map((one) => (
      { ...one, remove: [one.from], add: one.to, ttl: this.#ttl })))
  }

  async restoreTtl (): Promise<void> {
    // Whether switchOver() came through or not: the machine is there.
    await this.#set(this.#had().map((one) => (
      { ...one, remove: [one.from, one.to], add: one.to })))
  }

  async undo (): Promise<void> {
    if (this.#learned === null) return
    await this.#set(this.#had().map((one) => (
      { ...one, remove: [one.to, one.from], add: one.from })))
    this.#learned = null
  }

  #had (): Had[] {
    return this.#learned?.had ?? []
  }

  /** The TTL of the name's record with this address; NETWORK when there is none. */
  async #ttlOf (family: Family, address: string): Promise<number> {
    const { name } = this.#options
    const { host, port } = this.#server
    const resolver = new Resolver({ timeout: this.#timeoutMs, tries: 1 })
    resolver.setServers([isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`])
    const found = await (family === 4
      ? resolver.resolve4(name, { ttl: true })
      : resolver.resolve6(name, { ttl: true })).catch((cause: NodeJS.ErrnoException) => {
      throw lookupError(name, `${host}:${port}`, cause)
    })
    const record = found.find((one) => canonical(one.address) === address)
    if (record !== undefined) return record.ttl
    const others = found.map((one) => one.address).join(', ')
    throw new BlockferryError('NETWORK', `dns: ${name} does not have ${address} but ${others}`)
  }

  async #set (
    changes: ReadonlyArray<{ family: Family, remove: string[], add: string, ttl: number }>
  ): Promise<void> {
    if (changes.length === 0) return
    const name = this.#options.name.replace(/\.?$/, '.')
    const lines = changes.flatMap(({ family, remove, add, ttl }) => {
      const type = family === 4 ? 'A' : 'AAAA'
      return [
        ...remove.map((address) => `update delete ${name} ${type} ${address}`),
        `update add ${name} ${ttl} ${type} ${add}`
      ]
    })
    const { zone = null, keyFile = null } = this.#options
    await update({ ...this.#server, zone, keyFile, timeoutMs: this.#timeoutMs }, lines)
  }
}

/** TTLs are in seconds as numbers elsewhere, and so they are here. */
function seconds (ttl: number | string): number | string {
  return typeof ttl === 'number' ? ttl * 1000 : ttl
}

function serverOf (server: unknown): { host: string, port: number } {
  if (typeof server !== 'string') throw nonsense('dns.server', 'an address, with a port if need be')
  const parsed = isIP(server) === 0
    ? parseHostPort('dns.server', server)
    : { host: server, port: kDefaultPort }
  if (isIP(parsed.host) === 0) throw nonsense('dns.server', 'an address, with a port if need be')
  return parsed
}

function lookupError (
  name: string, where: string, cause: NodeJS.ErrnoException
): BlockferryError {
  const { code = '' } = cause
  if (code === 'ETIMEOUT') {
    return new BlockferryError('TIMEOUT', `dns: ${where} does not answer in time`, { cause })
  }
  if (code === 'ECONNREFUSED') {
    return new BlockferryError('UNREACHABLE', `dns: ${where} can't be reached`, { cause })
  }
  return new BlockferryError('NETWORK', `dns: ${where} does not know ${name}: ${code}`, { cause })
}

/** The name of a machine in a zone that takes dynamic updates (RFC 2136). It takes `nsupdate`
 * (Debian: bind9-dnsutils). INVALID. */
export function rfc2136 (options: Rfc2136Options): NameService {
  return new Rfc2136(options)
}
