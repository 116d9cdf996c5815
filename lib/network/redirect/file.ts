// A redirection in a file: one for both sites, so that nothing has to be said twice, mirrored.
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'

import { checkKeys } from '../../base/check.js'
import { BlockferryError } from '../../base/errors.js'
import type { Dyndns2Options } from '../dns/dyndns2.js'
import { dyndns2 } from '../dns/dyndns2.js'
import type { NameService } from '../dns/name-service.js'
import type { Rfc2136Options } from '../dns/rfc2136.js'
import { rfc2136 } from '../dns/rfc2136.js'
import type { RedirectOptions, TunnelOptions } from './options.js'
import { checkRedirectOptions } from './options.js'

type Role = 'old' | 'new'

/** With `privateKey` (a path) and `publicKey` of both sites the tunnel can be wireguard, with `tls`
 * at both tun. */
interface Keys extends Pick<TunnelOptions, 'tls'> { privateKey?: string, publicKey?: string }

/** What a word means is told by RedirectOptions and by the options of rfc2136() and dyndns2(). */
export interface RedirectFile extends Pick<RedirectOptions, 'address' | 'deadline' | 'runtimeFolder'> {
  /** `host`: this site's end of the tunnel. */
  old: { host: string } & Pick<RedirectOptions, 'device' | 'quiet' | 'poll'> & Keys
  /** `address`: the new address. */
  new: { host: string, address?: RedirectOptions['newAddress'] } &
    Pick<RedirectOptions, 'device' | 'by' | 'uplink' | 'gateway'> & Keys
  tunnel?: Pick<TunnelOptions, 'kind' | 'port' | 'mtu'>
  /** `site`: where the name is changed; default 'old'. `address`: default the new address. */
  dns?: { kind: 'rfc2136' | 'dyndns2', site?: Role, address?: string | string[] } &
    Partial<Omit<Rfc2136Options & Dyndns2Options, 'address'>>
}

const kKeys = ['address', 'deadline', 'runtimeFolder', 'old', 'new', 'tunnel', 'dns']
/** Where paths are, and what they are called there. */
const kPaths: ReadonlyArray<[parts: string[], names: string[]]> = [
  ...['old', 'new'].flatMap((site): Array<[string[], string[]]> => [
    [[site], ['privateKey']],
    [[site, 'tls'], ['certificate', 'key', 'ca']],
    [[site, 'tls', 'psk'], ['keyFile']]
  ]),
  [['dns'], ['keyFile', 'passwordFile']]
]

/** Paths in it are meant from its own folder. Errors: INVALID. */
export async function readRedirectFile (path: string): Promise<RedirectFile> {
  const file = await parse(path)
  for (const [parts, names] of kPaths) {
    const values = parts.reduce((inside, part) => inside?.[part], file as any)
    for (const name of names) {
      if (typeof values?.[name] === 'string') values[name] = resolve(dirname(path), values[name])
    }
  }
  return file
}

async function parse (path: string): Promise<RedirectFile> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as RedirectFile
  } catch (cause) {
    const words = `${path} can't be read: ${(cause as Error).message}`
    throw new BlockferryError('INVALID', words, { cause })
  }
}

/** The options of redirect() at one of the sites, checked. Errors: INVALID. */
export function optionsIn (file: RedirectFile, role: Role): RedirectOptions {
  checkKeys('redirect', file, kKeys)
  for (const part of ['old', 'new'] as const) checkKeys(part, file[part], Object.keys(file[part] ?? {}))
  const { address, deadline, runtimeFolder, dns } = file
  const options: RedirectOptions = {
    ...siteOf(file, role),
    role,
    address,
    tunnel: tunnelOf(file, role),
    ...(deadline !== undefined && { deadline }),
    ...(runtimeFolder !== undefined && { runtimeFolder }),
    ...(dns !== undefined && (dns.site ?? 'old') === role && { dns: serviceOf(file, dns) })
  }
  checkRedirectOptions(options)
  return options
}

/** What only this site has; a word that it doesn't know is refused with the rest of the options. */
function siteOf (file: RedirectFile, role: Role): Pick<RedirectOptions, 'device'> {
  if (role === 'old') {
    const { host: _host, privateKey: _private, publicKey: _public, tls: _tls, ...others } = file.old
    return others
  }
  const {
    host: _host, privateKey: _private, publicKey: _public, tls: _tls, address, ...others
  } = file.new
  return { ...others, ...(address !== undefined && { newAddress: address }) }
}

function tunnelOf (file: RedirectFile, role: Role): TunnelOptions {
  const [own, other] = role === 'old' ? [file.old, file.new] : [file.new, file.old]
  const { privateKey, tls } = own
  const { publicKey: peerKey } = other
  const keys = privateKey === undefined || peerKey === undefined ? null : { privateKey, peerKey }
  return {
    ...file.tunnel,
    local: own.host,
    remote: other.host,
    ...(tls !== undefined && { tls }),
    ...(keys !== null && { wireguard: keys })
  }
}

function serviceOf (file: RedirectFile, dns: NonNullable<RedirectFile['dns']>): NameService {
  const { kind, site: _site, address = file.new.address, ...options } = dns
  const all = { ...options, address } as never
  if (kind === 'rfc2136') return rfc2136(all)
  if (kind === 'dyndns2') return dyndns2(all)
  throw new BlockferryError('INVALID', 'dns.kind: must be one of rfc2136, dyndns2')
}
