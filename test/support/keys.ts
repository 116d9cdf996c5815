// Keys and certificates of a test's own, made with GnuTLS's tools.
import { execFileSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { TlsCertificateOptions, TlsPskOptions } from '../../lib/index.js'

/** A key file with these identities. */
export function pskFile (folder: string, name: string, ...identities: string[]): string {
  const path = join(folder, name)
  for (const identity of identities) {
    execFileSync('psktool', ['--username', identity, '--pskfile', path], { stdio: 'pipe' })
  }
  chmodSync(path, 0o600)
  return path
}

export function psk (keyFile: string, identity?: string): TlsPskOptions {
  return { psk: { keyFile, ...(identity !== undefined && { identity }) } }
}

function certtool (...args: string[]): void {
  execFileSync('certtool', args, { stdio: 'pipe' })
}

/** A CA in a folder, and what it signs. */
export class Authority {
  readonly certificate: string
  readonly #key: string

  constructor (readonly folder: string, readonly name = 'ca') {
    this.certificate = join(folder, `${name}.pem`)
    this.#key = this.#newKey(name)
    const template = this.#template(name, [`cn = "${name}"`, 'ca', 'cert_signing_key', 'expiration_days = 30'])
    certtool('--generate-self-signed', '--load-privkey', this.#key, '--template', template,
      '--outfile', this.certificate)
  }

  /** The options of a side with a certificate for these names (DNS names and addresses). */
  issue (name: string, names: string[], lines: string[] = ['expiration_days = 30']): TlsCertificateOptions {
    const [key, certificate] = [this.#newKey(name), join(this.folder, `${name}.pem`)]
    const isAddress = (text: string) => /^[\d.]+$/.test(text)
    const template = this.#template(name, [
      `cn = "${name}"`, 'tls_www_server', 'tls_www_client', 'signing_key', ...lines,
      ...names.map((text) => `${isAddress(text) ? 'ip_address' : 'dns_name'} = "${text}"`)
    ])
    certtool('--generate-certificate', '--load-privkey', key, '--load-ca-certificate', this.certificate,
      '--load-ca-privkey', this.#key, '--template', template, '--outfile', certificate)
    return { certificate, key, ca: this.certificate }
  }

  /** One that was good until the day before yesterday. */
  issueExpired (name: string, names: string[]): TlsCertificateOptions {
    const day = (ago: number) => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10)
    return this.issue(name, names, [`activation_date = "${day(9)}"`, `expiration_date = "${day(2)}"`])
  }

  #newKey (name: string): string {
    const path = join(this.folder, `${name}.key`)
    certtool('--generate-privkey', '--key-type', 'ecdsa', '--curve', 'secp256r1', '--no-text', '--outfile', path)
    chmodSync(path, 0o600)
    return path
  }

  #template (name: string, lines: string[]): string {
    const path = join(this.folder, `${name}.template`)
    writeFileSync(path, `${lines.join('\n')}\n`)
    return path
  }
}
