// Moves to a name that only a silent name server at 127.0.0.1 could know, and says as JSON how that failed.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'

import type { BlockferryError } from '../../../lib/index.js'
import { migrate, openTap } from '../../../lib/index.js'

let asked = 0
const server = createSocket('udp4').on('message', () => { asked++ })
server.bind(53, '127.0.0.1')
await once(server, 'listening')
const tap = await openTap({ source: { memory: '1MiB' }, name: 'disk' })
const destination = { host: 'far.example', port: 1 }
try {
  await migrate({ disks: [{ source: tap }], destination, linkTimeout: '1s', tls: false })
} catch (error) {
  const { code, message, owner } = error as BlockferryError
  console.log(JSON.stringify({ code, message, owner, asked }))
}
await tap.close()
server.close()
