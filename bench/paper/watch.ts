// Watches both guests on their second monitors: when the machine stops and when it goes on. QEMU
// notes the times of both by the same clock, whoever moves the machine.

import type { Guest } from '../../test/hosts/guest.js'
import { Qmp } from '../support/qmp.js'

const patienceMs = 10_000

export class Watch {
  readonly #source: Qmp
  readonly #destination: Qmp

  static async start(source: Guest, destination: Guest): Promise<Watch> {
    const first = await Qmp.connect(source.monitorSocket)
    return new Watch(first, await Qmp.connect(destination.monitorSocket))
  }

  private constructor(source: Qmp, destination: Qmp) {
    this.#source = source
    this.#destination = destination
  }

  /** The machine's last STOP at the source and its RESUME at the destination: ms since 1970. */
  async pause(): Promise<{ stopMs: number; resumeMs: number }> {
    const resume = await this.#destination.event(['RESUME'], patienceMs)
    const stop = this.#source.events.findLast(({ name }) => name === 'STOP')
    if (resume === undefined || stop === undefined) throw new Error('the machine did not move')
    return { stopMs: stop.atMs, resumeMs: resume.atMs }
  }

  /** Pauses the machine at the destination and answers how many bytes it has written there. */
  async writtenThere(): Promise<number> {
    await this.#destination.execute('stop')
    const devices = (await this.#destination.execute('query-blockstats')) as Device[]
    return devices.reduce((sum, { stats }) => sum + stats.wr_bytes + (stats.unmap_bytes ?? 0), 0)
  }

  close(): void {
    this.#source.close()
    this.#destination.close()
  }
}

interface Device {
  readonly stats: { readonly wr_bytes: number; readonly unmap_bytes?: number }
}
