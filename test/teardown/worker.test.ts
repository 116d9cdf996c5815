// The addon survives worker.terminate() at any moment, and many environments at once.
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'

import t from 'tap'

import { receive } from '../../lib/index.js'
import { NbdClient } from '../../lib/nbd/client.js'
import { makeImage, temporary } from '../../testbed/support/images.js'

const library = new URL('../../lib/index.js', import.meta.url).href
const client = new URL('../../lib/nbd/client.js', import.meta.url).href

/** Serves an image, writes to it, and sends it somewhere, all in the worker. */
const program = `
  const { parentPort, workerData } = require('node:worker_threads')
  ;(async () => {
    const { migrate, NbdServer, openTap } = await import('${library}')
    const { NbdClient } = await import('${client}')
    const tap = await openTap({ source: workerData.image, name: 'web' })
    const server = new NbdServer()
    server.add(tap)
    await server.listen({ path: workerData.socket })
    const writer = await NbdClient.open({ path: workerData.socket, exportName: 'web' })
    ;(async () => { for (let i = 0; ; i++) await writer.write((i % 1000) * 4096, Buffer.alloc(4096, i)) })().catch(() => {})
    parentPort.postMessage('ready')
    await migrate({
      disks: [{ source: tap }], destination: workerData.destination,
      budgets: { bandwidth: '20MB/s' }, switchover: 'manual'
    })
  })().catch(() => {})`

t.test('terminated at any moment', async (t) => {
  const dir = temporary(t)
  await using receiver = await receive({ disks: [{ destination: join(dir, 'target.img'), name: 'web' }] })
  for (let round = 0; round < 12; round++) {
    const worker = new Worker(program, {
      eval: true,
      workerData: {
        image: makeImage(join(dir, `source${round}.img`), 8 << 20),
        socket: join(dir, `${round}.sock`),
        destination: receiver.address
      }
    })
    // From before the addon is loaded to the middle of the copy.
    if (round >= 4) await new Promise((resolve) => worker.once('message', resolve))
    await new Promise((resolve) => setTimeout(resolve, round * 25))
    await worker.terminate()
  }
  t.pass('this process is still here')
  await t.rejects(NbdClient.open({ path: join(dir, '11.sock'), exportName: 'web' }), 'its server is gone')
})
