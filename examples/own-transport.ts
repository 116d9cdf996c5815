// The loop under migrate(), for a program that brings its own transport: here, copying to a file.
// blockferry only says which blocks are dirty, and stops the writer for the last of them.
import type { FileHandle } from 'node:fs/promises'
import { mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Extent } from 'blockferry'
import { NbdClient, NbdServer, openTap } from 'blockferry'

const folder = await mkdtemp(join(tmpdir(), 'blockferry-'))
const [source, copy] = [join(folder, 'source.img'), join(folder, 'copy.img')]
await writeFile(source, Buffer.alloc(32 * 2 ** 20, 'old data '))
await writeFile(copy, '')
await truncate(copy, 32 * 2 ** 20)

async function transport (from: FileHandle, to: FileHandle, extent: Extent): Promise<void> {
  const { offset, length } = extent
  const { buffer } = await from.read(Buffer.alloc(length), 0, length, offset)
  await to.write(buffer, 0, length, offset)
}

{
  await using tap = await openTap({ source, name: 'disk' })
  await using server = new NbdServer()
  server.add(tap)
  await server.listen(`unix:${join(folder, 'nbd')}`)
  const writer = await NbdClient.open({ path: join(folder, 'nbd'), exportName: 'disk' })
  await using from = await open(source, 'r')
  await using to = await open(copy, 'r+')

  tap.track() // from here on no write is missed
  tap.mark() // the first round is the whole disk
  for (let round = 0; round === 0 || tap.dirtyBytes > 16 * 1024; round++) {
    let bytes = 0
    for (const extent of tap.round()) {
      // Claimed before it is read: a write that comes now makes it dirty again.
      await transport(from, to, extent)
      bytes += extent.length
      const elsewhere = Math.floor(bytes * 7 % tap.size / 4096) * 4096
      if (round < 2) await writer.write(elsewhere, Buffer.alloc(4096, 'new data '))
    }
    console.log(`round ${round}: ${bytes} bytes, ${tap.dirtyBytes} dirty again`)
  }
  await tap.quiesce() // writes wait now, and none is under way
  for (const extent of tap.round()) await transport(from, to, extent)
  await to.sync()
  tap.refuse() // the copy is the disk from here on
  tap.untrack()
  await writer.disconnect()
}
console.log('equal:', (await readFile(source)).equals(await readFile(copy)))
await rm(folder, { recursive: true })
