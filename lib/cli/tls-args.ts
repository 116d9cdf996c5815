// --tls-… and --plain: how a command's connections are protected.
import { resolve } from 'node:path'

import { isLoopback } from '../base/loopback.js'
import type { TlsOptions } from '../base/tls.js'
import { parseHostPort, parseListen } from '../base/units.js'
import { flag, text, texts } from './args.js'
import type { Values } from './command.js'
import { UsageError } from './usage-error.js'

export const kTlsOptions = {
  'tls-psk': { type: 'string' },
  'tls-identity': { type: 'string' },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  'tls-ca': { type: 'string' },
  'tls-peer': { type: 'string', multiple: true },
  plain: { type: 'boolean' }
} as const

export const kTlsHelp = `  --tls-psk FILE         TLS with a pre-shared key: a file of lines IDENTITY:HEXKEY, mode 0600
  --tls-identity NAME    which of its keys (default: the only one; a receive welcomes all)
  --tls-cert FILE        TLS with certificates (PEM): ours,
  --tls-key FILE           its private key, mode 0600,
  --tls-ca FILE            and who must have signed the other side's
  --tls-peer NAME        a name that the other side's certificate must have (repeatable; default:
                         the destination's host; a receive welcomes all that the CA has signed)
  --plain                no TLS, though the address is not this host's loopback`

/** The `tls` of migrate() and receive(), with absolute paths: a serve may have another working
 * directory. */
export function tls (values: Values): { tls?: TlsOptions | false } {
  const psk = text(values, 'tls-psk')
  const parts = ['tls-cert', 'tls-key', 'tls-ca'].map((name) => ({ name, path: text(values, name) }))
  const isCertificate = parts.some(({ path }) => path !== undefined)
  if (psk !== undefined && isCertificate) {
    throw new UsageError('--tls-psk: is not for use with --tls-cert, --tls-key and --tls-ca')
  }
  rejectStray(values, 'tls-identity', psk !== undefined, '--tls-psk')
  rejectStray(values, 'tls-peer', isCertificate, '--tls-cert')
  if (psk !== undefined) {
    const identity = text(values, 'tls-identity')
    return { tls: { psk: { keyFile: resolve(psk), ...(identity !== undefined && { identity }) } } }
  }
  if (!isCertificate) return flag(values, 'plain') ? { tls: false } : {}
  const missing = parts.find(({ path }) => path === undefined)
  if (missing !== undefined) throw new UsageError(`--${missing.name}: is needed, too`)
  const [certificate, key, ca] = parts.map(({ path }) => resolve(path!)) as [string, string, string]
  const peer = texts(values, 'tls-peer')
  return { tls: { certificate, key, ca, ...(peer.length > 0 && { peer }) } }
}

function rejectStray (values: Values, name: string, belongs: boolean, to: string): void {
  if (values[name] !== undefined && !belongs) throw new UsageError(`--${name}: belongs to ${to}`)
}

/** The same for a command that connects to, or listens at, the HOST:PORT of an option. */
export function tlsAt (values: Values, option: string, address: string): { tls?: TlsOptions | false } {
  const found = tls(values)
  if (found.tls === undefined && !isLoopback(parseHostPort(option, address).host)) {
    throw new UsageError(
      `${option}: ${address} is not this host's loopback: give --tls-psk or --tls-cert, or --plain`)
  }
  return found
}

/** For a command whose --plain means nothing but this connection. */
export function rejectBoth (values: Values): void {
  const given = ['tls-psk', 'tls-cert'].find((name) => values[name] !== undefined)
  if (given === undefined || !flag(values, 'plain')) return
  throw new UsageError(`--plain: contradicts --${given}`)
}

/** NBD is not encrypted: who wants it on TCP beyond the loopback says --plain. */
export function checkPlainNbd (values: Values, option: string, address: string): void {
  const where = parseListen(option, address)
  if ('path' in where || isLoopback(where.host) || flag(values, 'plain')) return
  throw new UsageError(
    `${option}: ${address} is not this host's loopback, and NBD is not encrypted: say --plain`)
}
