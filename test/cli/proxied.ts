// A serve, a receive and, between them, a proxy that can stop the time at any message.
import type { Test } from 'tap'

import { FrameProxy } from '../support/frame-proxy.js'
import { CliProcess, scratch } from './cli-process.js'
import { kMiB, makeImage, nbdUri, Writer } from './disks.js'

export const kDiskMiB = 16

export interface Proxied {
  path: (name: string) => string
  serve: CliProcess
  receiver: CliProcess
  proxy: FrameProxy
  writer: Writer
  send: (...more: string[]) => CliProcess
}

export function startServe (t: Test, path: Proxied['path'], ...more: string[]): CliProcess {
  return new CliProcess(t, [
    'serve', '--disk', `web=${path('a.img')}`, '--listen', `unix:${path('a.nbd')}`,
    '--control', path('control'), '--json', ...more
  ])
}

/** A send of what the serve holds. */
export function startSend (
  t: Test, path: Proxied['path'], port: number, ...more: string[]
): CliProcess {
  return new CliProcess(t, [
    'send', '--control', path('control'), '--to', `127.0.0.1:${port}`, '--json',
    '--link-timeout', '1s', '--reconnect', '0', ...more
  ])
}

/** The serve has a writer; the receive and the serve get more options. */
export async function startProxied (
  t: Test, options: (path: Proxied['path']) => string[] = () => [],
  serveOptions: (path: Proxied['path']) => string[] = () => []
): Promise<Proxied> {
  const path = scratch(t)
  makeImage(path('a.img'), kDiskMiB)
  const serve = startServe(t, path, ...serveOptions(path))
  await serve.event('serving')
  const receiver = new CliProcess(t, [
    'receive', '--disk', `web=${path('b.img')}`, '--listen', '127.0.0.1:0', '--json',
    ...options(path)
  ])
  const { host, port } = await receiver.event('listening')
  const proxy = await FrameProxy.to({ host, port })
  t.teardown(() => proxy.close())
  const writer = new Writer(t, nbdUri('web', path('a.nbd')), kDiskMiB * kMiB)
  await writer.more(20)
  const send = (...more: string[]) => startSend(t, path, proxy.address.port, ...more)
  return { path, serve, receiver, proxy, writer, send }
}
