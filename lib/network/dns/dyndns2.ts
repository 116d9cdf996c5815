// The dyndns2 protocol that public services speak: one HTTP request that sets a name's addresses.
//
// The services choose the TTL, so there is none to lower; and they take a request that changes
// nothing for abuse, so that prepare() can't try.
import { readFile } from 'node:fs/promises'

import { BlockferryError } from '../../base/errors.js'
import { parseTime } from '../../base/units.js'
import { addressesOf, listOf } from '../addresses.js'
import type { NameService, NameServiceState } from './name-service.js'

export interface Dyndns2Options {
  /** The host name as the service knows it. */
  name: string
  /** What it gets: one of each family at most. */
  address: string | readonly string[]
  /** The service's address for updates, like 'https://members.example.net/nic/update'. */
  url: string
  user: string
  /** The file with the password (its first line). */
  passwordFile: string
  /** The TTL that the service gives names, which says how long clients may come to the old address;
   * seconds or a text. Default '5m'. */
  ttl?: number | string
  /** Default '10s'. */
  timeout?: number | string
}

interface Learned { from: string[], switched: boolean }

const kMeanings: Record<string, string> = {
  badauth: 'wrong user or password',
  '!donator': 'this account may not do that',
  notfqdn: 'the name is no full host name',
  nohost: 'the name is none of this account\'s',
  numhost: 'too many names',
  abuse: 'the name is blocked',
  badagent: 'it does not like this client',
  dnserr: 'its name server has failed',
  911: 'it is out of order'
}

export class Dyndns2 implements NameService {
  readonly #options: Dyndns2Options
  readonly #to: string[]
  readonly #ttlMs: number
  readonly #timeoutMs: number
  #from: string[]
  #switched: boolean

  /** For dyndns2(). */
  constructor (options: Dyndns2Options, learned: Learned | null = null) {
    const { name, url, user, passwordFile, ttl = '5m', timeout = '10s' } = options
    for (const [option, text] of Object.entries({ name, url, user, passwordFile })) {
      if (typeof text !== 'string' || text === '') {
        throw new BlockferryError('INVALID', `dns.${option}: is needed`)
      }
    }
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw new BlockferryError('INVALID', 'dns.url: must be an HTTP address')
    }
    this.#options = options
    this.#to = listOf(addressesOf('dns.address', options.address))
    this.#ttlMs = parseTime('dns.ttl', typeof ttl === 'number' ? ttl * 1000 : ttl)
    this.#timeoutMs = parseTime('dns.timeout', timeout)
    this.#from = learned?.from ?? []
    this.#switched = learned?.switched ?? false
  }

  get staleMs (): number {
    return this.#ttlMs
  }

  state (): NameServiceState {
    const learned = { from: this.#from, switched: this.#switched }
    return { kind: 'dyndns2', options: this.#options, learned }
  }

  /** Whether there is a password, and somebody who answers at that address. */
  async prepare (from: readonly string[]): Promise<void> {
    this.#from = [...from]
    await this.#password()
    await this.#fetch(new URL(this.#options.url), { method: 'HEAD' })
  }

  async switchOver (): Promise<void> {
    this.#switched = true
    await this.#set(this.#to)
  }

  async restoreTtl (): Promise<void> {}

  async undo (): Promise<void> {
    if (!this.#switched) return
    await this.#set(this.#from)
    this.#switched = false
  }

  async #password (): Promise<string> {
    const { passwordFile } = this.#options
    const text = await readFile(passwordFile, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      throw new BlockferryError(
        'NETWORK', `dns: the password in ${passwordFile} can't be read: ${cause.code}`, { cause })
    })
    return text.split(/\r?\n/)[0]!
  }

  async #set (addresses: readonly string[]): Promise<void> {
    const { name, url, user } = this.#options
    const request = new URL(url)
    request.searchParams.set('hostname', name)
    request.searchParams.set('myip', addresses.join(','))
    const login = Buffer.from(`${user}:${await this.#password()}`).toString('base64')
    const response = await this.#fetch(request, { headers: { authorization: `Basic ${login}` } })
    const answers = (await response.text()).trim().split('\n').map((line) => line.split(' ')[0]!)
    if (answers.every((answer) => answer === 'good' || answer === 'nochg') && response.ok) return
    const all = [...new Set(answers.map((answer) => kMeanings[answer] ?? answer))].join(', ')
    const words = all.slice(0, 200) || response.status
    throw new BlockferryError('NETWORK', `dns: ${request.host} refuses the update: ${words}`)
  }

  async #fetch (url: URL, init: RequestInit): Promise<Response> {
    const signal = AbortSignal.timeout(this.#timeoutMs)
    const headers = { 'user-agent': 'blockferry', ...init.headers }
    try {
      return await fetch(url, { ...init, headers, signal, redirect: 'error' })
    } catch (cause) {
      if (signal.aborted) {
        throw new BlockferryError('TIMEOUT', `dns: ${url.host} does not answer in time`, { cause })
      }
      const { message, cause: deeper } = cause as Error & { cause?: Error }
      const words = `dns: ${url.host} can't be reached: ${deeper?.message ?? message}`
      throw new BlockferryError('UNREACHABLE', words, { cause })
    }
  }
}

/** The name of a machine at a public dynamic DNS service. INVALID. */
export function dyndns2 (options: Dyndns2Options): NameService {
  return new Dyndns2(options)
}
