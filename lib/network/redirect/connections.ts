// Counts the connections that use the machine's old address, as the kernel tracks them.
import { readFile } from 'node:fs/promises'

import { execute } from '../../base/external-tool.js'
import { canonical } from '../addresses.js'

/** One tracked connection, as far as it matters here. */
interface Tracked {
  protocol: string
  state: string | null
  /** Packets were seen in both directions. */
  answered: boolean
  /** Of the first packet, and of the answer to it. */
  original: { source: string, destination: string }
  reply: { source: string, destination: string }
}

/** TCP connections in these states say nothing any more. */
const kOver = new Set(['TIME_WAIT', 'CLOSE'])

/** Connections that go to or come from one of the addresses and are not over. Those that were
 * translated to the machine's new address use that one. Null when this host has no way to know. */
export async function countConnections (addresses: readonly string[]): Promise<number | null> {
  const table = await readTable(addresses)
  if (table === null) return null
  const own = new Set(addresses)
  return count(table, own)
}

/** Those in a list of conntrack's that count. */
export function count (table: string, own: ReadonlySet<string>): number {
  return parse(table).filter((connection) => uses(connection, own)).length
}

/** With the tool of conntrack, else from the list in /proc that some kernels have. */
async function readTable (addresses: readonly string[]): Promise<string | null> {
  try {
    const all = []
    for (const address of addresses) {
      const family = address.includes(':') ? 'ipv6' : 'ipv4'
      for (const end of ['--orig-src', '--orig-dst']) {
        const { code, stdout } = await execute('conntrack', ['-L', '-f', family, end, address])
        if (code === 0) all.push(stdout)
      }
    }
    if (all.length > 0) return all.join('')
  } catch {}
  return await readFile('/proc/net/nf_conntrack', 'utf8').catch(() => null)
}

/** Lines like: tcp 6 431999 ESTABLISHED src=… dst=… sport=… dport=… src=… dst=… … */
export function parse (table: string): Tracked[] {
  return table.split('\n').flatMap((line) => {
    const [source, source2] = values(line, /\bsrc=(\S+)/g)
    const [destination, destination2] = values(line, /\bdst=(\S+)/g)
    if (source === undefined || source2 === undefined) return []
    const before = line.slice(0, line.indexOf('src=')).trim().split(/\s+/)
    const last = before.at(-1)!
    return [{
      protocol: before.find((word) => /^(?!ipv[46]$)[a-z][a-z0-9-]*$/.test(word)) ?? '',
      state: /^[A-Z_0-9]*[A-Z][A-Z_0-9]*$/.test(last) ? last : null,
      answered: !line.includes('[UNREPLIED]'),
      original: { source, destination: destination! },
      reply: { source: source2, destination: destination2! }
    }]
  })
}

function values (line: string, word: RegExp): string[] {
  return [...line.matchAll(word)].map(([, text]) => canonical(text!))
}

function uses (connection: Tracked, own: ReadonlySet<string>): boolean {
  const { protocol, state, answered, original, reply } = connection
  if (protocol.startsWith('icmp') || (state !== null && kOver.has(state))) return false
  // The last packet of a connection that was just ending at the switchover looks like a new one, to
  // which nobody answers; TCP that lives has an answer at once.
  if (protocol === 'tcp' && !answered) return false
  const came = own.has(original.destination) && own.has(reply.source)
  const went = own.has(original.source) && own.has(reply.destination)
  return came || went
}
