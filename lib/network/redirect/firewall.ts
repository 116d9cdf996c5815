// The tables of nftables: all of ours, none of the user's. What they drop or change is only what
// goes through the tunnel or belongs to the machine's addresses.
import { nftFamily } from '../addresses.js'
import type { Change } from '../undoable-changes.js'
import type { Surroundings } from './plan.js'
import { familiesOf } from './plan.js'

/** The bit of a packet's mark that says: not through the tunnel. */
export const kDirect = '0x00400000'
/** Ports from which clients speak, not servers. */
const kClientPorts = 32_768
/** The port of the hosts' own words through the tunnel, see peer-probe.ts. */
export const kHelloPort = 4791

function chain (name: string, hook: string, rules: readonly string[]): string {
  const lines = [`type ${hook}; policy accept`, ...rules].map((line) => `    ${line}`)
  return [`  chain ${name} {`, ...lines, '  }'].join('\n')
}

function table (
  family: 'inet' | 'netdev', name: string, chains: readonly string[]
): Extract<Change, { kind: 'nft' }> {
  return { kind: 'nft', family, table: name, rules: chains.join('\n') }
}

/**
 * For the tunnel: only the machine's packets pass, whoever sends them; what is too large for it is
 * announced in time (MSS); connections are tracked, so that they can be counted; the hosts
 * themselves can be reached through it only for a few words.
 */
export function tunnelTable ({ options, spec, backend }: Surroundings): Change {
  const { device, role } = spec
  const [inward, outward] = role === 'old' ? ['saddr', 'daddr'] : ['daddr', 'saddr']
  const only = (direction: string, side: string) => ([4, 6] as const).map((family) => {
    const address = options.addresses[family]
    const other = address === null ? '' : ` ${nftFamily(family)} ${side} != ${address}`
    return `${direction} "${device}" meta nfproto ipv${family}${other} drop`
  })
  const guard = backend.guard(spec)
  const own = familiesOf(options).map((family) => (
    `${nftFamily(family)} saddr ${options.addresses[family]}`))
  return table('inet', `blockferry-${options.id}`, [
    chain('forward', 'filter hook forward priority -150', [
      ...only('iifname', inward),
      ...only('oifname', outward),
      `oifname "${device}" tcp flags & syn == syn tcp option maxseg size set rt mtu`,
      `iifname "${device}" ct state new counter`
    ]),
    chain('input', 'filter hook input priority -150', [
      ...(guard === null ? [] : [guard]),
      ...(role === 'old' ? own.map((words) => `iifname "${device}" ${words} accept`) : []),
      `iifname "${device}" udp dport ${kHelloPort} accept`,
      `iifname "${device}" meta l4proto { icmp, icmpv6 } accept`,
      `iifname "${device}" udp sport ${kHelloPort} accept`,
      `iifname "${device}" drop`
    ])
  ])
}

function hex (address: string): string {
  const groups = new URL(`http://[${address}]/`).hostname.slice(1, -1)
  const [head = '', tail] = groups.split('::')
  const list = (text = '') => text === '' ? [] : text.split(':')
  const zeros = tail === undefined ? 0 : 8 - list(head).length - list(tail).length
  const all = [...list(head), ...Array<string>(zeros).fill('0'), ...list(tail)]
  return `0x${all.map((group) => group.padStart(4, '0')).join('')}`
}

/**
 * Frames that neighbours send to the hardware address that they know (the machine's at the old
 * site, the old router's at the new one) come to this host: no neighbour has to learn anything, and
 * nothing waits for that.
 */
export function frameTable ({ options, spec, mac }: Surroundings): Change {
  const side = spec.role === 'old' ? 'daddr' : 'saddr'
  const toUs = `meta pkttype set host ether daddr set ${mac}`
  const unicast = 'ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00'
  const rules = familiesOf(options).flatMap((family) => {
    const address = options.addresses[family]!
    const fresh = options.by === 'guest' ? options.newAddresses[family] : null
    const all = `{ ${[address, ...(fresh === null ? [] : [fresh])].join(', ')} }`
    const packets = `${nftFamily(family)} ${side} ${all} ${unicast} ${toUs}`
    if (family === 4) return [packets, `arp operation request arp ${side} ip ${address} ${toUs}`]
    const asked = spec.role === 'old' ? address : options.gateways[6]
    if (asked === null) return [packets]
    // The target of a neighbour solicitation; nft has a word for it only in newer versions.
    const solicit = `icmpv6 type nd-neighbor-solicit @th,64,128 ${hex(asked)}`
    return [`${solicit} meta pkttype set host`, packets]
  })
  const hook = 'filter hook ingress devices = $ports priority -300'
  const change = table('netdev', `blockferry-${options.id}`, [chain('ingress', hook, rules)])
  return { ...change, bridge: options.device }
}

/**
 * The new address: translated to the old one and back. What belongs to it, and what the machine
 * begins itself from now on, does not go through the tunnel. A datagram from a server's port may
 * belong to an old exchange: it does.
 */
export function addressTable ({ options, spec }: Surroundings): Change | null {
  const [marks, there, back]: [string[], string[], string[]] = [[], [], []]
  const direct = `meta mark set meta mark | ${kDirect}`
  for (const family of familiesOf(options)) {
    const ip = nftFamily(family)
    const [own, fresh] = [options.addresses[family]!, options.newAddresses[family]]
    if (fresh === null) continue
    const from = `iifname "${options.device}" ${ip} saddr ${own}`
    const ping = family === 4 ? 'icmp type echo-request' : 'icmpv6 type echo-request'
    marks.push(
      `${ip} daddr ${fresh} iifname != "${spec.device}" ${direct}`,
      `${from} ct original ${ip} daddr ${fresh} ${direct}`,
      `${from} ct reply ${ip} daddr ${fresh} ${direct}`,
      `${from} ct state new tcp flags & (syn | ack) == syn ${direct}`,
      `${from} ct state new udp sport >= ${kClientPorts} ${direct}`,
      `${from} ct state new ${ping} ${direct}`)
    there.push(`${ip} daddr ${fresh} iifname != "${spec.device}" dnat ${ip} to ${own}`)
    back.push(`${ip} saddr ${own} oifname != "${spec.device}" snat ${ip} to ${fresh}`)
  }
  if (marks.length === 0 || options.by === 'guest') return null
  return table('inet', `blockferry-${options.id}-address`, [
    chain('marks', 'filter hook prerouting priority -150', marks),
    chain('there', 'nat hook prerouting priority -100', there),
    chain('back', 'nat hook postrouting priority 100', back)
  ])
}
