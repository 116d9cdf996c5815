// Addresses that no other host reaches.
import { BlockList, isIP } from 'node:net'

const kLoopback = new BlockList()
kLoopback.addSubnet('127.0.0.0', 8)
kLoopback.addAddress('::1', 'ipv6')

/** Whether only this host can be meant. A name other than localhost can be any host's. */
export function isLoopback (host: string): boolean {
  const family = isIP(host)
  if (family === 0) return host === 'localhost'
  return kLoopback.check(host, family === 4 ? 'ipv4' : 'ipv6')
}
