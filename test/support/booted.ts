// A small guest for a test: on host A, ready, its disk a plain export that two can have.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { placeGuestImage } from '../../testbed/guests/image.js'
import { GuestService } from '../../testbed/guests/service.js'
import { Guest, type GuestOptions } from '../../testbed/guests/guest.js'
import { guestAddress, guestNetwork, Hosts, type HostsOptions } from '../../testbed/hosts/hosts.js'
import { exportPlainly, type PlainExport } from '../../testbed/guests/plain-export.js'

/** Hosts that go with the test. */
export async function hostsFor (t: Test, options: HostsOptions = {}): Promise<Hosts> {
  const hosts = await Hosts.make(options)
  t.teardown(() => hosts.close())
  return hosts
}

export interface Booted {
  readonly guest: Guest
  /** To start it once more, on host B. */
  readonly options: GuestOptions
  readonly image: string
  readonly disk: PlainExport
  readonly service: GuestService
}

/** A guest on host A that is ready and goes with the test. */
export async function boot (t: Test, hosts: Hosts): Promise<Booted> {
  const folder = mkdtempSync(join(tmpdir(), 'guest-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const [image, nbdSocket] = [join(folder, 'disk.img'), join(folder, 'nbd')]
  await placeGuestImage(image, { diskBytes: 2 ** 28, contentBytes: 2 ** 23 })
  const disk = await exportPlainly(image, nbdSocket, 2)
  t.teardown(() => disk.close())
  const { namespace, tapDevice } = hosts.a
  const options = { namespace, folder, nbdSocket, tapDevice, address: guestNetwork }
  const guest = await Guest.start(options)
  t.teardown(() => guest.kill())
  await guest.waitReady(`http://${guestAddress}/`, hosts.client)
  return { guest, options, image, disk, service: new GuestService(hosts.client, guestAddress) }
}
