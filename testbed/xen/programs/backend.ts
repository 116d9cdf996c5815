// In dom0: what the kernel tells of the backend of a guest's disk.

import { readFileSync, readdirSync, statSync } from 'node:fs'

import { deviceNumber } from '../../../lib/base/device-number.js'

const kBackends = '/sys/bus/xen-backend/devices'

/** Requests since the guest has come. */
export interface Requests {
  readonly reads: number
  readonly writes: number
  readonly flushes: number
  readonly discards: number
}

/** The backend that serves a device, which must have one. */
export class Backend {
  readonly #folder: string
  readonly #device: string

  static of (device: string): Backend {
    const number = deviceNumber(statSync(device).rdev)
    const [major, minor] = number.split(':').map((part) => Number(part).toString(16))
    const name = readdirSync(kBackends).find((name) => name.startsWith('vbd-') &&
      readFileSync(`${kBackends}/${name}/physical_device`, 'utf8').trim() === `${major}:${minor}`)
    if (name === undefined) throw new Error(`no guest has ${device}`)
    return new Backend(`${kBackends}/${name}`, number)
  }

  private constructor (folder: string, device: string) {
    this.#folder = folder
    this.#device = device
  }

  get requests (): Requests {
    const count = (kind: string) => Number(readFileSync(`${this.#folder}/statistics/${kind}_req`, 'utf8'))
    return { reads: count('rd'), writes: count('wr'), flushes: count('f'), discards: count('ds') }
  }

  /** Requests of the device that have begun and not ended. */
  get inFlight (): number {
    const counts = readFileSync(`/sys/dev/block/${this.#device}/inflight`, 'utf8').trim().split(/\s+/)
    return counts.reduce((sum, count) => sum + Number(count), 0)
  }
}
