// IP addresses as options give them, one of each family at most.
import { isIP } from 'node:net'

import { BlockferryError } from '../base/errors.js'
import type { Family } from './ip.js'

/** 4 or 6. INVALID for what is no address, naming the option. */
export function familyOf (option: string, address: unknown): Family {
  const family = typeof address === 'string' ? isIP(address) : 0
  if (family === 0) {
    throw new BlockferryError('INVALID', `${option}: ${String(address)} is no IP address`)
  }
  return family as Family
}

export interface Addresses { 4: string | null, 6: string | null }

/** INVALID for two of one family, or for none. IPv6 is brought into the form that the system's
 * tools print, so that texts can be compared. */
export function addressesOf (option: string, value: string | readonly string[]): Addresses {
  const found: Addresses = { 4: null, 6: null }
  for (const address of typeof value === 'string' ? [value] : value ?? []) {
    const family = familyOf(option, address)
    if (found[family] !== null) {
      throw new BlockferryError('INVALID', `${option}: only one address of IPv${family}`)
    }
    found[family] = canonical(address)
  }
  if (found[4] === null && found[6] === null) {
    throw new BlockferryError('INVALID', `${option}: an IP address is needed`)
  }
  return found
}

export function listOf ({ 4: four, 6: six }: Addresses): string[] {
  return [four, six].filter((address) => address !== null)
}

/** An address as the system's tools print it. */
export function canonical (address: string): string {
  if (isIP(address) !== 6) return address
  return new URL(`http://[${address}]/`).hostname.slice(1, -1)
}

/** With its full length as the prefix. */
export function host (address: string): string {
  return `${address}/${isIP(address) === 6 ? 128 : 32}`
}

/** Of IPv6: valid on one link only. */
export function isLinkLocal (address: string): boolean {
  return /^fe[89ab]/i.test(address)
}

/** 'ip' or 'ip6', as nft calls them. */
export function nftFamily (family: Family): 'ip' | 'ip6' {
  return family === 4 ? 'ip' : 'ip6'
}
