// Watches both guests on their second monitors: when the machine stops and when it goes on, and
// what it writes at its destination. QEMU notes the times of both by the same clock, whoever moves
// the machine.

import { join } from 'node:path'
import { diskNode, type Guest } from '../../testbed/guests/guest.js'
import { run } from '../../testbed/support/command.js'
import { Qmp } from '../../testbed/support/qmp.js'

const patienceMs = 10_000
/** QEMU notes in it which blocks of 4 KiB the machine writes. */
const bitmap = 'written'

/** A part of a disk, in bytes. */
export interface Extent {
  readonly offset: number
  readonly length: number
}

export class Watch {
  readonly #source: Qmp
  readonly #destination: Qmp

  static async start (source: Guest, destination: Guest): Promise<Watch> {
    const monitors = [source, destination].map((guest) => Qmp.connect(guest.monitorSocket))
    const [first, second] = (await Promise.all(monitors)) as [Qmp, Qmp]
    const notes = { node: diskNode, name: bitmap, granularity: 4096 }
    await second.execute('block-dirty-bitmap-add', notes)
    return new Watch(first, second)
  }

  private constructor (source: Qmp, destination: Qmp) {
    this.#source = source
    this.#destination = destination
  }

  /** The machine's last STOP at the source and its RESUME at the destination: ms since 1970. */
  async pause (): Promise<{ stopMs: number, resumeMs: number }> {
    const resume = await this.#destination.event(['RESUME'], patienceMs)
    const stop = this.#source.events.findLast(({ event }) => event === 'STOP')
    if (resume === undefined || stop === undefined) throw new Error('the machine did not move')
    return { stopMs: stop.atMs, resumeMs: resume.atMs }
  }

  /** Pauses the machine at the destination and answers where it has written there. */
  async writtenThere (folder: string): Promise<Extent[]> {
    const path = join(folder, 'bitmap.nbd')
    const qmp = this.#destination
    await qmp.execute('stop')
    await qmp.execute('block-dirty-bitmap-disable', { node: diskNode, name: bitmap })
    await qmp.execute('nbd-server-start', { addr: { type: 'unix', data: { path } } })
    const served = { type: 'nbd', id: bitmap, name: bitmap, 'node-name': diskNode }
    await qmp.execute('block-export-add', { ...served, bitmaps: [bitmap] })
    const uri = `nbd+unix:///${bitmap}?socket=${path}`
    const output = await run('nbdinfo', '--json', `--map=qemu:dirty-bitmap:${bitmap}`, uri)
    const extents = JSON.parse(output) as (Extent & { type: number })[]
    return extents.filter(({ type }) => type !== 0)
  }

  close (): void {
    this.#source.close()
    this.#destination.close()
  }
}
