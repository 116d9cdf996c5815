// A disk moves there and back a hundred times under its writer; says as JSON what was lost, what
// differed, and what the process used when warm and at the end.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

import type { Tap } from '../../../lib/index.js'
import { migrate, NbdServer, openTap, receive } from '../../../lib/index.js'
import { hashOf, makeImage } from '../../../testbed/support/images.js'
import { Writer } from '../../../testbed/support/writer.js'

const kMoves = 200
/** By then everything that is loaded or kept for reuse is there. */
const kWarm = 40
const kSize = 2 << 20

const count = (folder: string) => readdirSync(folder).length

export interface Used { descriptors: number, threads: number, memory: number }

export interface Moved { lost: number, wrong: string[], warm: Used, after: Used }

function used (): Used {
  gc!()
  return {
    descriptors: count('/proc/self/fd'),
    threads: count('/proc/self/task'),
    memory: process.memoryUsage.rss()
  }
}

async function moves (dir: string): Promise<Moved> {
  const images = [join(dir, 'a.img'), join(dir, 'b.img')]
  makeImage(images[0]!, kSize)
  let tap: Tap = await openTap({ source: images[0]!, name: 'web' })
  let server = new NbdServer()
  server.add(tap)
  await server.listen({ path: join(dir, 'nbd0') })
  let writer = await Writer.start(join(dir, 'nbd0'), 'web', 100, 1)
  let warm: Used | null = null
  const wrong: string[] = []
  let lost = 0
  for (let move = 1; move <= kMoves; move++) {
    const target = images[move % 2]!
    const next = new NbdServer()
    await next.listen({ path: join(dir, `nbd${move}`) })
    const receiver = await receive({ disks: [{ destination: target, name: 'web' }], serve: next })
    const report = await migrate({
      disks: [{ source: tap }],
      destination: receiver.address,
      machine: { pause: () => writer.pause(), resume: () => writer.resume() }
    })
    if (report.equal !== true) wrong.push(`move ${move}: not equal`)
    const image = images[(move + 1) % 2]!
    if (await hashOf(target) !== await hashOf(image)) wrong.push(`move ${move}: the images differ`)
    lost += writer.lostIn(target).length
    await writer.stop()
    await server.close()
    await tap.close()
    await receiver.done
    tap = receiver.taps.get('web')!
    await receiver.close()
    server = next
    writer = await Writer.start(join(dir, `nbd${move}`), 'web', 100, 1)
    if (move === kWarm) warm = used()
  }
  const after = used()
  await writer.stop()
  await server.close()
  await tap.close()
  return { lost, wrong, warm: warm!, after }
}

console.log(JSON.stringify(await moves(process.argv[2]!)))
