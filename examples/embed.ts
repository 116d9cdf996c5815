// The library in a program of one's own: serve a disk, move it while a client writes.
// In a real program receive() runs on another host.
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { migrate, NbdServer, openTap, receive } from 'blockferry'

const folder = await mkdtemp(join(tmpdir(), 'blockferry-'))
const image = join(folder, 'web.img')
await writeFile(image, 'a small disk\n')
await truncate(image, 64 * 2 ** 20)

{
  // The source: whoever connects to this socket (QEMU, nbd-client, …) writes through the tap.
  await using tap = await openTap({ source: image, name: 'web' })
  await using server = new NbdServer()
  await server.listen(`unix:${join(folder, 'web.nbd')}`)
  server.add(tap)

  // The destination.
  const destination = join(folder, 'moved.img')
  await using receiver = await receive({ disks: [{ name: 'web', destination: destination }] })

  // The move: events while it runs, a report at its end.
  const migration = migrate({
    disks: [{ source: tap }],
    destination: receiver.address,
    budgets: { downtime: '300ms' }
  })
  migration.on('progress', ({ progress }) => console.log(`${Math.floor(progress * 100)}%`))
  const { downtimeMs, equal, digest } = await migration
  console.log(`moved; downtime ${downtimeMs.toFixed(1)} ms, equal: ${equal}`)
  console.log(`the digest of both is ${digest?.destination}`)
  console.log(`the source is ${tap.state}, the destination ${receiver.taps.get('web')?.state}`)
  await receiver.taps.get('web')?.close()
}
await rm(folder, { recursive: true })
