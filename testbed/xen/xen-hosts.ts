// Two hosts of Xen, linked: the bridges of their dom0s (10.8.0.1 and 10.8.0.2) are one network.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { XenHost, type XenHostOptions } from './xen-host.js'

const kLinkMs = 60_000

export class XenHosts {
  /** Boots both: a minute. */
  static async boot (options: Omit<XenHostOptions, 'number' | 'link'> = {}): Promise<XenHosts> {
    const folder = mkdtempSync(join(tmpdir(), 'xen-link-'))
    const link = join(folder, 'link')
    const booting = [1, 2].map((number) => XenHost.boot({ ...options, number, link }))
    const booted = await Promise.allSettled(booting)
    const hosts = new XenHosts(folder, booted.flatMap((one) => one.status === 'fulfilled' ? [one.value] : []))
    try {
      for (const one of booted) if (one.status === 'rejected') throw one.reason
      await hosts.#linked()
      return hosts
    } catch (error) {
      await hosts.close()
      throw error
    }
  }

  private constructor (readonly folder: string, readonly all: readonly XenHost[]) {}

  get a (): XenHost {
    return this.all[0]!
  }

  get b (): XenHost {
    return this.all[1]!
  }

  async close (): Promise<void> {
    await Promise.all(this.all.map((host) => host.close()))
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #linked (): Promise<void> {
    const until = Date.now() + kLinkMs
    while ((await this.a.run(`busybox ping -c 1 -W 2 ${this.b.address}`)).code !== 0) {
      if (Date.now() > until) throw new Error('the hosts do not see each other')
      await sleep(250)
    }
  }
}
