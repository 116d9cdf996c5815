// Asks iproute2 about this host.
import { nonsense } from '../base/check.js'
import { execute } from '../base/external-tool.js'
import { run } from './command.js'

export type Family = 4 | 6

export interface IpRoute { dev?: string, gateway?: string, prefsrc?: string, table?: string }
export interface IpLink {
  ifname: string
  mtu: number
  address: string
  flags: string[]
  master?: string
  linkinfo?: { info_kind?: string }
}
interface IpAddresses { ifname: string, addr_info: Array<{ local: string, prefixlen: number }> }
interface IpRule { priority: number, table: string }
interface IpNeighbour { dst: string, lladdr?: string, state: string[] }

/** The kernel's rules for names of devices; more would not be safe in a batch for `ip`. */
export function checkDevice (option: string, value: unknown): string {
  if (typeof value === 'string' && /^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}$/.test(value)) return value
  throw nonsense(option, 'the name of a network device')
}

async function json<T> (args: readonly string[]): Promise<T[]> {
  const text = (await run('ip', ['-j', '-d', ...args])).trim()
  if (text === '') return []
  // What a filter left out is an empty object.
  return (JSON.parse(text) as T[]).filter((one) => Object.keys(one as object).length > 0)
}

export async function links (): Promise<IpLink[]> {
  return await json<IpLink>(['link', 'show'])
}

/** The devices on which frames for a device come in: the ports of a bridge, or itself. */
export async function portsOf (device: string): Promise<string[]> {
  const ports = (await links()).filter(({ master }) => master === device)
  return ports.length > 0 ? ports.map(({ ifname }) => ifname) : [device]
}

/** The device on which an address is configured here, or null. */
export async function deviceOf (address: string): Promise<string | null> {
  const all = await json<IpAddresses>(['address', 'show'])
  const has = ({ addr_info: infos }: IpAddresses) => infos.some(({ local }) => local === address)
  return all.find(has)?.ifname ?? null
}

/** The addresses of a device. */
export async function addressesOn (device: string): Promise<string[]> {
  const all = await json<IpAddresses>(['address', 'show', 'dev', device])
  return all.flatMap(({ addr_info: infos }) => infos.map(({ local }) => local))
}

/** The way to an address, or null when there is none. */
export async function routeTo (address: string): Promise<IpRoute | null> {
  const { code, stdout } = await execute('ip', ['-j', 'route', 'get', address])
  if (code !== 0 || stdout.trim() === '') return null
  return (JSON.parse(stdout) as IpRoute[])[0] ?? null
}

export async function rules (family: Family): Promise<IpRule[]> {
  return await json<IpRule>([`-${family}`, 'rule', 'show'])
}

/** The numbers of the routing tables that hold something. */
export async function tablesInUse (family: Family): Promise<Set<string>> {
  const routes = await json<IpRoute>([`-${family}`, 'route', 'show', 'table', 'all'])
  return new Set(routes.flatMap(({ table }) => table === undefined ? [] : [table]))
}

/** The addresses for which this host answers on a device. */
export async function proxiesOn (device: string): Promise<string[]> {
  const all: IpNeighbour[] = []
  for (const family of ['-4', '-6']) {
    all.push(...await json<IpNeighbour>([family, 'neigh', 'show', 'proxy', 'dev', device]))
  }
  return all.map(({ dst }) => dst)
}

/** What is known of a neighbour on a device: its hardware address, or null. */
export async function neighbour (address: string, device: string): Promise<IpNeighbour | null> {
  const known = await json<IpNeighbour>(['neigh', 'show', 'to', address, 'dev', device])
  return known.find(({ lladdr }) => lladdr !== undefined) ?? null
}
