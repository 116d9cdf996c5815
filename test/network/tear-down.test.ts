// When the tunnel may go, and how connections are counted.
import t from 'tap'

import { count, parse } from '../../lib/network/redirect/connections.js'
import type { TunnelUse } from '../../lib/network/redirect/tear-down.js'
import { tunnelEnd } from '../../lib/network/redirect/tear-down.js'

const kUse: TunnelUse = {
  now: 1000,
  switchedAt: 0,
  lastUsedAt: 0,
  connections: 0,
  staleMs: 0,
  quietMs: 500,
  deadlineMs: 10_000
}

const kCases: Array<[name: string, use: Partial<TunnelUse>, end: ReturnType<typeof tunnelEnd>]> = [
  ['nobody uses it', {}, 'unused'],
  ['somebody uses it', { connections: 1 }, null],
  ['somebody used it a moment ago', { lastUsedAt: 600 }, null],
  ['names may lead there still', { staleMs: 1001 }, null],
  ['the name has not changed', { staleMs: Infinity }, null],
  ['nobody knows who uses it', { connections: null }, null],
  ['the deadline, in use', { now: 10_000, connections: 7, lastUsedAt: 9999 }, 'deadline'],
  ['the deadline, with a name that has not changed', { now: 10_000, staleMs: Infinity }, 'deadline'],
  ['the deadline, where nobody knows', { now: 10_000, connections: null }, 'deadline']
]

for (const [name, use, end] of kCases) {
  t.test(name, async (t) => {
    t.equal(tunnelEnd({ ...kUse, ...use }), end)
  })
}

t.test('lists of connections, from the tool and from /proc', async (t) => {
  const tool = 'tcp      6 431999 ESTABLISHED src=10.30.0.2 dst=10.10.0.10 sport=4 dport=7 ' +
    'src=10.10.0.10 dst=10.30.0.2 sport=7 dport=4 [ASSURED] mark=0 use=1'
  const proc = 'ipv6     10 udp      17 29 src=fd30:0:0:0:0:0:0:2 dst=fd10:0000:0000:0000:0000:0000:0000:0010 ' +
    'sport=5 dport=53 [UNREPLIED] src=fd10::10 dst=fd30::2 sport=53 dport=5 mark=0 zone=0 use=2'
  const [first, second] = parse([tool, proc, 'nonsense', ''].join('\n'))
  t.match(first, {
    protocol: 'tcp',
    state: 'ESTABLISHED',
    original: { source: '10.30.0.2', destination: '10.10.0.10' },
    reply: { source: '10.10.0.10', destination: '10.30.0.2' }
  })
  t.match(second, { protocol: 'udp', state: null, original: { source: 'fd30::2', destination: 'fd10::10' } })
})

t.test('what counts as a connection that uses an address', async (t) => {
  const line = (head: string, flags: string) => (
    `${head} src=10.10.0.10 dst=10.30.0.2 sport=80 dport=4 ${flags} ` +
    'src=10.30.0.2 dst=10.10.0.10 sport=4 dport=80 mark=0 use=1')
  for (const [counts, text] of [
    [1, line('tcp 6 431999 ESTABLISHED', '')],
    [0, line('tcp 6 97 ESTABLISHED', '[UNREPLIED]')],
    [0, line('tcp 6 9 TIME_WAIT', '')],
    [1, line('udp 17 29', '[UNREPLIED]')],
    [0, line('icmp 1 29', '')]
  ] as const) {
    t.equal(count(text, new Set(['10.10.0.10'])), counts, text.slice(0, 30))
  }
  t.equal(count(line('tcp 6 431999 ESTABLISHED', ''), new Set(['10.20.0.10'])), 0, 'another address')
})
