// The tool on the host that a machine leaves: offers the machine's disk to QEMU through a tap, and
// moves disk and machine when it is told where to. Events are lines of JSON on stdout.
//
//   source IMAGE NBD-SOCKET QMP-SOCKET [NETWORK]   then a line with HOST:PORT and a downtime on stdin
//
// NETWORK: see network.ts; when the machine's address belongs to this site. Then it goes on until
// the tunnel has gone.
import { once } from 'node:events'
import { createInterface } from 'node:readline'

import { migrate, NbdServer, openTap, qemu } from '../../lib/index.js'
import { networkOf } from './network.js'

const [image, socket, qmp, options] = process.argv.slice(2) as [string, string, string, string?]
const network = options === undefined ? null : networkOf(options)

await using tap = await openTap({ source: image, name: 'disk' })
await using server = new NbdServer()
await server.listen({ path: socket })
server.add(tap)
tell({ event: 'serving' })

const [line] = await once(createInterface(process.stdin), 'line') as [string]
const [destination, downtime] = line.split(' ') as [string, string]
const migration = migrate({
  disks: [{ source: tap }],
  destination,
  tls: false, // as at the destination
  machine: qemu({ qmp }),
  budgets: { downtime },
  ...(network !== null && { network })
})
void (async () => {
  for await (const redirect of network ?? []) tell({ event: 'redirect', redirect })
})()
// The last event is `done` with the report, or `failed`.
for await (const event of migration) tell(event)
const moved = await migration.then(() => true, () => false)
if (!moved) process.exitCode = 1
else await network?.ended

function tell (event: object): void {
  console.log(JSON.stringify(event))
}
