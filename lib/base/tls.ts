// TLS of a migration's connections: its options, and when there must be some.
import { checkKeys, nonsense } from './check.js'
import { BlockferryError, toBlockferryError } from './errors.js'
import { isLoopback } from './loopback.js'
import type { NativeTls, NativeTlsFiles } from '../native/types.js'
import { native } from '../native/addon.js'

/** A key that both sides have. */
export interface TlsPskOptions {
  psk: {
    /** A file of lines IDENTITY:KEY, the key in 32 to 128 hexadecimal digits, as `psktool` makes
     * it. NO_PERMISSION when others than its owner may read it. */
    keyFile: string
    /** Which of them. Default, at the source: the only one there is; at a receiver: all are
     * welcome. */
    identity?: string
  }
}

/** Certificates, on both sides. All files are PEM. */
export interface TlsCertificateOptions {
  /** Ours, followed by those between it and the CA, if any. */
  certificate: string
  /** Its private key. NO_PERMISSION when others than its owner may read it. */
  key: string
  /** Who must have signed the other side's. */
  ca: string
  /** DNS names or addresses, one of which the other side's certificate must bear. Default, at the
   * source: the destination's host; at a receiver: any certificate of the CA is welcome. */
  peer?: string | readonly string[]
}

export type TlsOptions = TlsPskOptions | TlsCertificateOptions

const kForms = 'false, { psk: { keyFile, identity? } } or { certificate, key, ca, peer? }'

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

function checkObject (
  option: string, value: unknown, needed: readonly string[], others: readonly string[]
): void {
  checkKeys(option, value, [...needed, ...others])
  for (const key of needed) {
    if (!isText((value as Record<string, unknown>)[key])) throw nonsense(`${option}.${key}`, 'a path')
  }
}

function checkPsk (psk: TlsPskOptions['psk']): NativeTlsFiles {
  checkObject('tls.psk', psk, ['keyFile'], ['identity'])
  const { keyFile, identity } = psk
  if (identity !== undefined && !isText(identity)) throw nonsense('tls.psk.identity', 'a text')
  return { pskKeyFile: keyFile, ...(identity !== undefined && { pskIdentity: identity }), peers: [] }
}

function checkCertificates (options: TlsCertificateOptions): NativeTlsFiles {
  checkObject('tls', options, ['certificate', 'key', 'ca'], ['peer'])
  const { certificate, key, ca, peer = [] } = options
  const peers = typeof peer === 'string' ? [peer] : peer
  const isGiven = options.peer !== undefined
  if (!Array.isArray(peers) || !peers.every(isText) || (isGiven && peers.length === 0)) {
    throw nonsense('tls.peer', 'a name or a list of names')
  }
  return { certificate, key, ca, peers }
}

/** Keys for who is to be welcome, or who is without: on the loopback who is of this user or root, and with
 * `tls: false`, plain TCP, anybody. */
export type Welcome = NativeTlsFiles | 'sameUser' | 'anybody'

/** INVALID for nonsense, and without a word when `host`, which the option `address` names, may be
 * another host's or be reached from one. */
export function checkTls (
  tls: TlsOptions | false | undefined, address: string, host: string
): Welcome {
  if (tls === false) return 'anybody'
  if (tls !== undefined) {
    if (typeof tls !== 'object' || tls === null) throw nonsense('tls', kForms)
    return 'psk' in tls ? checkPsk(onlyPsk(tls).psk) : checkCertificates(tls)
  }
  if (isLoopback(host)) return 'sameUser'
  throw new BlockferryError(
    'INVALID',
    `tls: ${address} is ${host}, not this host's loopback: give keys, or say that it is to be plain ` +
    'TCP (tls: false)'
  )
}

function onlyPsk (tls: TlsPskOptions): TlsPskOptions {
  const other = Object.keys(tls).find((key) => key !== 'psk')
  if (other !== undefined) throw nonsense(`tls.${other}`, 'left out beside tls.psk')
  return tls
}

/** Reads the files, for a side that connects or one that listens. Errors: NOT_FOUND, NO_PERMISSION and the like,
 * INVALID for what is in them, UNSUPPORTED when the addon was built without TLS. */
export async function loadTls<None extends null | 'sameUser' | 'anybody'> (
  welcome: NativeTlsFiles | None, { connects }: { connects: boolean }
): Promise<NativeTls | None> {
  if (welcome === null || typeof welcome === 'string') return welcome
  return await native.loadTls({ ...welcome, connects }).catch((error: unknown) => { throw toBlockferryError(error) })
}
