// Guests whose disks are plain files that QEMU opens itself, and that QEMU itself moves.

import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { placeGuestImage } from '../../testbed/guests/image.js'
import { Guest } from '../../testbed/guests/guest.js'
import { guestAddress, guestNetwork, type Host } from '../../testbed/hosts/hosts.js'
import { Qmp } from '../../testbed/support/qmp.js'
import { type Ground, type Moved, now, type Prepare, type Site } from './site.js'

/** The monitors of both guests, and how long there is. */
export interface Monitors {
  readonly source: Qmp
  readonly destination: Qmp
  readonly ground: Ground
}

/** Moves a guest by its monitors' commands. */
export type Mover = (monitors: Monitors) => Promise<Omit<Moved, 'beginMs'>>

class PlainSite implements Site {
  readonly images: { readonly source: string, readonly destination: string }
  readonly #folder: string
  readonly #ground: Ground
  readonly #mover: Mover
  readonly #guests: Guest[] = []
  readonly #monitors: Qmp[] = []

  constructor (ground: Ground, isShared: boolean, mover: Mover) {
    this.#ground = ground
    this.#mover = mover
    this.#folder = mkdtempSync(join(ground.folder, 'guest-'))
    const source = join(this.#folder, 'a.img')
    this.images = { source, destination: isShared ? source : join(this.#folder, 'b.img') }
  }

  get source (): Guest {
    return this.#guests[0] as Guest
  }

  get destination (): Guest {
    return this.#guests[1] as Guest
  }

  async boot (): Promise<void> {
    const { hosts, setting } = this.#ground
    const { source, destination } = this.images
    await placeGuestImage(source, setting.size)
    if (destination !== source) {
      writeFileSync(destination, '')
      truncateSync(destination, setting.size.diskBytes)
    }
    await this.#start(hosts.a, source, false)
    await this.source.waitReady(`http://${guestAddress}/`, hosts.client)
    await this.#start(hosts.b, destination, true)
    for (const { qmpSocket } of this.#guests) this.#monitors.push(await Qmp.connect(qmpSocket))
  }

  async move (): Promise<Moved> {
    const [source, destination] = this.#monitors as [Qmp, Qmp]
    const beginMs = now()
    return { beginMs, ...(await this.#mover({ source, destination, ground: this.#ground })) }
  }

  async release (): Promise<void> {
    for (const monitor of this.#monitors) monitor.close()
    for (const guest of this.#guests) await guest.kill()
  }

  async close (): Promise<void> {
    await this.release()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #start (host: Host, diskFile: string, incoming: boolean): Promise<void> {
    const { namespace, tapDevice } = host
    const { memoryMiB } = this.#ground.setting.size
    const place = { namespace, tapDevice, address: guestNetwork, folder: this.#folder }
    this.#guests.push(await Guest.start({ ...place, diskFile, memoryMiB, incoming }))
  }
}

/** Guests for a way in which QEMU moves them; with a disk each, or one that both share. */
export function preparePlain (mover: Mover, { isShared = false } = {}): Prepare {
  return async (ground) => {
    const site = new PlainSite(ground, isShared, mover)
    try {
      await site.boot()
    } catch (error) {
      await site.close()
      throw error
    }
    return site
  }
}
