// pause() and resume() of one's own stand in for a machine: the migration stops the writer for the
// switchover, and the destination starts it when it owns the disk.
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { migrate, NbdClient, NbdServer, openTap, receive } from 'blockferry'

const folder = await mkdtemp(join(tmpdir(), 'blockferry-'))
const at = (name: string) => join(folder, name)

/** Counts on in the disk's first block: the "machine". */
class Counter {
  count = 0
  #running: Promise<void> = Promise.resolve()
  #stop = false

  resume (client: NbdClient): void {
    this.#stop = false
    this.#running = this.#run(client)
  }

  async pause (): Promise<void> {
    this.#stop = true
    await this.#running
  }

  async #run (client: NbdClient): Promise<void> {
    while (!this.#stop) {
      await client.write(0, Buffer.alloc(4096, `${this.count + 1} `))
      this.count++
      await sleep(1)
    }
  }
}

{
  const counter = new Counter()
  await using tap = await openTap({ source: at('source.img'), name: 'disk', createSize: '16MiB' })
  await using here = new NbdServer()
  await here.listen(`unix:${at('here')}`)
  here.add(tap)
  await using there = new NbdServer()
  await there.listen(`unix:${at('there')}`)

  const client = await NbdClient.open({ path: at('here'), exportName: 'disk' })
  counter.resume(client)
  await sleep(200)
  await using receiver = await receive({
    disks: [{ name: 'disk', destination: at('destination.img') }],
    serve: there,
    machine: {
      resume: async () => {
        console.log('resumed at the destination at', counter.count)
        counter.resume(await NbdClient.open({ path: at('there'), exportName: 'disk' }))
      }
    }
  })
  await migrate({
    disks: [{ source: tap }],
    destination: receiver.address,
    machine: {
      pause: async () => {
        await counter.pause()
        console.log('paused at the source at', counter.count)
      },
      // Only when the switchover fails: the source goes on.
      resume: () => counter.resume(client)
    }
  })
  await sleep(200)
  await counter.pause()
  const text = (await readFile(at('destination.img'))).toString('utf8', 0, 32)
  console.log(`counted to ${counter.count}; the destination's disk says ${text.split(' ')[0]}`)
  await there.close()
  await receiver.taps.get('disk')?.close()
}
await rm(folder, { recursive: true })
