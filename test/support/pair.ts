// A source that serves an image over NBD and a destination that waits for it.
import { join } from 'node:path'

import type { Test } from 'tap'

import type { Receiver, Tap, TlsOptions } from '../../lib/index.js'
import { NbdServer, openTap, receive } from '../../lib/index.js'
import { makeImage, temporary } from '../../testbed/support/images.js'

export interface Pair {
  dir: string
  source: Tap
  receiver: Receiver
  socket: string
  image: string
  target: string
}

/** Everything is closed when the test is over. */
export async function makePair (t: Test, size = 16 << 20, tls?: TlsOptions): Promise<Pair> {
  const dir = temporary(t)
  const image = makeImage(join(dir, 'source.img'), size)
  const target = join(dir, 'target.img')
  const socket = join(dir, 'nbd.sock')
  const source = await openTap({ source: image, name: 'web' })
  const server = new NbdServer()
  server.add(source)
  await server.listen({ path: socket })
  const receiver = await receive({
    disks: [{ destination: target, name: 'web' }], ...(tls !== undefined && { tls })
  })
  t.teardown(async () => {
    await receiver.close()
    for (const tap of receiver.taps.values()) await tap.close()
    await server.close()
    if (!source.closed) await source.close()
  })
  return { dir, source, receiver, socket, image, target }
}
