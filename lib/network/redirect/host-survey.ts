// Asks the host all that a plan needs, and refuses what can't work: before anything is changed.
import { createSocket } from 'node:dgram'
import { setTimeout as sleep } from 'node:timers/promises'

import { checkPermission } from '../permission.js'
import { BlockferryError } from '../../base/errors.js'
import { familyOf, isLinkLocal, listOf } from '../addresses.js'
import { readSetting } from '../undoable-changes.js'
import { run } from '../command.js'
import type { Family, IpLink } from '../ip.js'
import {
  addressesOn, deviceOf, links, neighbour, proxiesOn, routeTo, rules, tablesInUse
} from '../ip.js'
import type { CheckedRedirectOptions } from './options.js'
import type { Surroundings } from './plan.js'
import { familiesOf } from './plan.js'
import { innerOf } from './plan-tunnel.js'
import type { RedirectState } from './state.js'
import { settingsIn } from './state.js'
import type { TunnelSpec } from '../tunnel/backend.js'
import { chooseTunnel } from '../tunnel/choose.js'

/** The least that IPv6 must be able to carry. */
const kLeastMtu = 1280
/** Numbers of routing tables and priorities of rules: before those of most others. */
const kFirstNumber = 7400
const kLastNumber = 7900
const kNumbersEach = 4
/** How long somebody else has to answer for an address. */
const kAnswerMs = 600

function refuse (words: string): BlockferryError {
  return new BlockferryError('NETWORK', words)
}

/** `known`: the other redirections of this host. Errors: NO_PERMISSION, UNSUPPORTED,
 * ADDRESS_IN_USE, UNREACHABLE, NETWORK. */
export async function survey (
  options: CheckedRedirectOptions, known: readonly RedirectState[] = []
): Promise<Surroundings> {
  await checkPermission()
  const all = await links()
  const device = find(all, 'device', options.device)
  const spec = specOf(options)
  if (all.some(({ ifname }) => ifname === spec.device)) {
    throw refuse(`${spec.device} exists here: the same redirection is set up already, or was not ` +
      `removed (blockferry redirect --list, --remove ${options.id})`)
  }
  const { dev, mtu } = await underlay(options, all)
  const backend = await chooseTunnel(options.tunnel.kind, spec, familiesOf(options))
  await run('nft', ['-j', 'list', 'tables'])
  const uplink = find(all, 'uplink', options.uplink ?? dev).ifname
  const needs = [options.device, ...(options.role === 'old' ? [] : [uplink])]
  await checkForwarding(options, needs)
  await checkAddresses(options, uplink)
  await checkInner(spec)
  return {
    options,
    spec,
    backend,
    mtu: innerMtu(options, mtu, backend.overhead(spec.underlay)),
    mac: device.address,
    uplink,
    base: await freeNumbers(familiesOf(options)),
    settings: new Map([...await settingsOf(options.device, uplink), ...settingsIn(known)]),
    present: await presentGateways(options),
    proxies: await proxiesOf([options.device, uplink])
  }
}

function find (all: readonly IpLink[], option: string, name: string): IpLink {
  const found = all.find(({ ifname }) => ifname === name)
  if (found === undefined) throw refuse(`${option}: there is no device ${name} here`)
  if (!found.flags.includes('UP')) throw refuse(`${option}: ${name} is not up`)
  return found
}

function specOf (options: CheckedRedirectOptions): TunnelSpec {
  const { number, role, tunnel } = options
  const { local, remote, port, wireguard, tls } = tunnel
  return {
    device: `ferry-${options.id}`,
    number,
    role,
    local,
    remote,
    underlay: familyOf('tunnel.local', local),
    port,
    inner: innerOf(number, role),
    wireguard,
    tls
  }
}

/** The device that leads to the other site, and its MTU. */
async function underlay (
  { tunnel: { local, remote } }: CheckedRedirectOptions, all: readonly IpLink[]
): Promise<{ dev: string, mtu: number }> {
  if (await deviceOf(local) === null) {
    throw refuse(`tunnel.local: ${local} is no address of this host`)
  }
  const route = await routeTo(remote)
  const link = all.find(({ ifname }) => ifname === route?.dev)
  if (link === undefined) {
    throw new BlockferryError('UNREACHABLE', `tunnel.remote: there is no route to ${remote}`)
  }
  if (link.ifname === 'lo') throw refuse(`tunnel.remote: ${remote} is this host itself`)
  return { dev: link.ifname, mtu: link.mtu }
}

function innerMtu (options: CheckedRedirectOptions, mtu: number, overhead: number): number {
  const fits = options.tunnel.mtu ?? mtu - overhead
  if (fits >= kLeastMtu) return fits
  throw refuse(`packets of ${mtu} bytes towards ${options.tunnel.remote} leave ${fits} in the ` +
    `tunnel, and ${kLeastMtu} are needed`)
}

/** Turning a host into a router is its owner's decision. */
async function checkForwarding (
  options: CheckedRedirectOptions, devices: readonly string[]
): Promise<void> {
  const off: string[] = []
  for (const family of familiesOf(options)) {
    const paths = family === 6
      ? ['net/ipv6/conf/all/forwarding']
      : devices.map((device) => `net/ipv4/conf/${device}/forwarding`)
    for (const path of new Set(paths)) if (await readSetting(path) !== '1') off.push(path)
  }
  if (off.length === 0) return
  const commands = off.map((path) => `sysctl -w ${path}=1`).join(', ')
  throw refuse(`this host doesn't forward packets: ${commands}`)
}

async function checkAddresses (options: CheckedRedirectOptions, uplink: string): Promise<void> {
  for (const address of listOf(options.addresses)) {
    const device = await deviceOf(address)
    if (device !== null) throw inUse('address', address, `configured on this host's ${device}`)
  }
  const mayAnswer = options.by === 'guest'
  for (const address of listOf(options.newAddresses)) {
    const device = await deviceOf(address)
    if (device !== null) throw inUse('newAddress', address, `configured on this host's ${device}`)
    if (!mayAnswer) await checkNobodyHas(address, uplink)
  }
}

/** They come from the addresses of machine and hosts: of very many some are the same. */
async function checkInner ({ inner }: TunnelSpec): Promise<void> {
  const device = await deviceOf(inner.local) ?? await deviceOf(inner.remote)
  if (device === null) return
  throw new BlockferryError('ADDRESS_IN_USE', `the tunnel's own addresses, ${inner.local} and ` +
    `${inner.remote}, are in use on ${device}: use other addresses for tunnel.local and remote`)
}

function inUse (option: string, address: string, how: string): BlockferryError {
  return new BlockferryError('ADDRESS_IN_USE', `${option}: ${address} is in use: it is ${how}`)
}

async function checkNobodyHas (address: string, device: string): Promise<void> {
  const route = await routeTo(address)
  if (route === null || route.dev !== device || route.gateway !== undefined) return
  const owner = await whoHas(address, device)
  if (owner !== null) throw inUse('newAddress', address, `at ${owner} on ${device}`)
}

/** Makes the kernel look for an address among the neighbours: its hardware address, or null. */
async function whoHas (address: string, device: string): Promise<string | null> {
  const socket = createSocket(familyOf('address', address) === 4 ? 'udp4' : 'udp6')
  socket.on('error', () => {})
  socket.send('', 9, isLinkLocal(address) ? `${address}%${device}` : address, () => {})
  try {
    for (let waited = 0; waited < kAnswerMs; waited += 50) {
      await sleep(50)
      const known = await neighbour(address, device)
      if (known !== null) return known.lladdr!
    }
    return null
  } finally {
    socket.close()
  }
}

/** The machine's routers that are on the new site's link already: this host must not take their
 * place. A link-local address is often the same everywhere. */
async function presentGateways (
  { role, device, gateways }: CheckedRedirectOptions
): Promise<Set<string>> {
  const present = new Set(await addressesOn(device))
  for (const address of listOf(gateways)) {
    if (role === 'new' && isLinkLocal(address) && await whoHas(address, device) !== null) {
      present.add(address)
    }
  }
  return present
}

/** Of tables and priorities that nobody else uses. */
async function freeNumbers (families: readonly Family[]): Promise<number> {
  const taken = new Set<string>()
  for (const family of families) {
    for (const table of await tablesInUse(family)) taken.add(table)
    for (const rule of await rules(family)) taken.add(String(rule.priority)).add(String(rule.table))
  }
  for (let base = kFirstNumber; base < kLastNumber; base += kNumbersEach) {
    const numbers = Array.from({ length: kNumbersEach }, (_none, index) => String(base + index))
    if (!numbers.some((number) => taken.has(number))) return base
  }
  throw refuse(`all routing tables from ${kFirstNumber} to ${kLastNumber} are in use`)
}

async function proxiesOf (devices: readonly string[]): Promise<Set<string>> {
  const all = await Promise.all(devices.map(async (device) => (
    (await proxiesOn(device)).map((address) => `${address} ${device}`))))
  return new Set(all.flat())
}

/** What the plans may change, as it is. */
async function settingsOf (device: string, uplink: string): Promise<Map<string, string>> {
  const paths = [
    `net/ipv4/conf/${device}/proxy_arp`, `net/ipv4/conf/${uplink}/src_valid_mark`,
    'net/ipv6/conf/all/proxy_ndp'
  ]
  const values = new Map<string, string>()
  for (const path of paths) {
    const value = await readSetting(path)
    if (value !== null) values.set(path, value)
  }
  return values
}
