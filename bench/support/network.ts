// Networks of the benchmark's own: a loopback whose byte counters nobody else moves, and a link of
// limited rate between two hosts. Both are network namespaces, which only root can make.

import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { atEnd } from '../../testbed/support/cleanup.js'
import { run, runSync } from '../../testbed/support/command.js'
import { inNamespace } from './process.js'

export function isRoot (): boolean {
  return process.getuid?.() === 0
}

let made = 0

async function makeNamespace (): Promise<string> {
  made += 1
  const name = `blockferry-${process.pid}-${made}`
  await run('ip', 'netns', 'add', name)
  atEnd(() => runSync('ip', 'netns', 'delete', name))
  await run('ip', '-n', name, 'link', 'set', 'lo', 'up')
  return name
}

/** A namespace with nothing but a loopback; undefined (use the machine's own) unless root. */
export async function privateLoopback (): Promise<string | undefined> {
  return isRoot() ? makeNamespace() : undefined
}

/** Two hosts joined by a link of the same rate both ways. */
export interface Link {
  readonly source: string
  readonly destination: string
  /** The destination's address, as the source reaches it. */
  readonly address: string
  /** Bytes that crossed the link so far, headers included, both ways. */
  wireBytes(): Promise<number>
}

/** Makes a link with a token bucket at both ends: `rate` in bits per second. Needs root. */
export async function limitedLink (rate: number): Promise<Link> {
  const [source, destination] = [await makeNamespace(), await makeNamespace()]
  const peer = ['peer', 'name', 'wire', 'netns', destination]
  await run('ip', '-n', source, 'link', 'add', 'name', 'wire', 'type', 'veth', ...peer)
  await configureEnd(source, '10.213.7.1/30', rate)
  await configureEnd(destination, '10.213.7.2/30', rate)
  const wireBytes = () => countedBytes(source, 'wire')
  return { source, destination, address: '10.213.7.2', wireBytes }
}

async function configureEnd (namespace: string, address: string, rate: number): Promise<void> {
  await run('ip', '-n', namespace, 'address', 'add', address, 'dev', 'wire')
  await run('ip', '-n', namespace, 'link', 'set', 'wire', 'up')
  const bucket = ['tbf', 'rate', `${rate}bit`, 'burst', '64kb', 'latency', '100ms']
  await run('tc', '-n', namespace, 'qdisc', 'add', 'dev', 'wire', 'root', ...bucket)
}

/** Bytes sent over a namespace's loopback so far; null where there is no namespace. */
export async function loopbackBytes (namespace: string | undefined): Promise<number | null> {
  if (namespace === undefined) return null
  return (await counters(namespace, 'lo')).tx.bytes
}

async function countedBytes (namespace: string, device: string): Promise<number> {
  const { tx, rx } = await counters(namespace, device)
  return tx.bytes + rx.bytes
}

interface Counters {
  tx: { bytes: number }
  rx: { bytes: number }
}

async function counters (namespace: string, device: string): Promise<Counters> {
  const output = await run('ip', '-n', namespace, '-json', '-stats', 'link', 'show', 'dev', device)
  const [link] = JSON.parse(output) as [{ stats64: Counters }]
  return link.stats64
}

/** A TCP port that is free now. */
export async function freePort (): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** Waits until somebody listens on a TCP port, without connecting to it. */
export async function whenListening (port: number, namespace: string | undefined): Promise<void> {
  const [command, ...args] = [...inNamespace(namespace), 'ss', '-Hltn', `sport = :${port}`]
  for (let i = 0; i < 500; i++) {
    if ((await run(command, ...args)).trim() !== '') return
    await sleep(20)
  }
  throw new Error(`nobody listens on port ${port}`)
}
