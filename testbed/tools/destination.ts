// The tool on the host that a machine comes to: offers the file that the disk will be in to the
// QEMU that waits here (which may read it, and write when it is ours), and receives both.
//
//   destination IMAGE NBD-SOCKET QMP-SOCKET HOST [NETWORK]
//
// NETWORK: see network.ts; when this site has other addresses.
import { NbdServer, openTap, qemu, receive } from '../../lib/index.js'
import { networkOf } from './network.js'

const [image, socket, qmp, host, options] = process.argv.slice(2) as
  [string, string, string, string, string?]

const tap = await openTap({ source: image, name: 'disk' })
tap.refuse()
await using server = new NbdServer()
await server.listen({ path: socket })
server.add(tap)
await using receiver = await receive({
  disks: [{ destination: tap }],
  machine: qemu({ qmp }),
  listen: { host, port: 0 },
  tls: false, // the two hosts have a network of their own; elsewhere: keys
  ...(options !== undefined && { network: networkOf(options) })
})
console.log(JSON.stringify({ event: 'serving', port: receiver.address.port }))
await receiver.done
console.log(JSON.stringify({ event: 'arrived' }))
// From here on the machine runs on this disk.
await new Promise((resolve) => process.once('SIGTERM', resolve))
await tap.close()
