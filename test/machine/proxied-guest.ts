// A real guest whose disk this process serves at both ends, and its moves through a proxy that
// sees every frame: a fault happens at the very frame that a test names.

import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { BlockferryError, Migration, QemuOptions, Receiver, Report } from '../../lib/index.js'
import { migrate, NbdServer, openTap, qemu, receive, type Tap } from '../../lib/index.js'
import { placeGuestImage } from '../../testbed/guests/image.js'
import { GuestService } from '../../testbed/guests/service.js'
import { Guest } from '../../testbed/guests/guest.js'
import { guestAddress, guestNetwork, Hosts, type Host } from '../../testbed/hosts/hosts.js'
import { FrameProxy } from '../support/frame-proxy.js'

type MigrateOptions = Parameters<typeof migrate>[0]

/** A host's share: the disk, who serves it, and QEMU when there is one. */
export class Side {
  readonly host: Host
  readonly image: string
  readonly nbdSocket: string
  readonly tap: Tap
  readonly server = new NbdServer()
  guest: Guest | null = null

  static async open (host: Host, folder: string, letter: string): Promise<Side> {
    const image = join(folder, `${letter}.img`)
    const side = new Side(host, image, await openTap({ source: image, name: 'disk' }))
    side.server.add(side.tap)
    await side.server.listen({ path: side.nbdSocket })
    return side
  }

  private constructor (host: Host, image: string, tap: Tap) {
    this.host = host
    this.image = image
    this.nbdSocket = image.replace(/img$/, 'nbd')
    this.tap = tap
  }

  async close (): Promise<void> {
    await this.guest?.kill()
    await this.server.close()
    await this.tap.close()
  }
}

/** One move of a guest that is under way. */
export interface ProxiedMove {
  readonly migration: Migration
  readonly receiver: Receiver
  readonly proxy: FrameProxy
  /** The error, or null when it went through. */
  readonly result: Promise<BlockferryError | null>
  /** Resolves when the receiver has given the migration up. */
  readonly givenUp: Promise<BlockferryError>
}

export class ProxiedGuest {
  readonly service: GuestService
  /** The namespace of the clients. */
  readonly client: string
  readonly #folder: string
  #starts = 0
  here: Side
  there: Side

  /** On host A, ready. All goes with the test. */
  static async boot (t: Test): Promise<ProxiedGuest> {
    const hosts = await Hosts.make()
    t.teardown(() => hosts.close())
    const folder = mkdtempSync(join(tmpdir(), 'guest-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    await placeGuestImage(join(folder, 'a.img'), { diskBytes: 2 ** 28, contentBytes: 2 ** 23 })
    writeFileSync(join(folder, 'b.img'), '')
    truncateSync(join(folder, 'b.img'), 2 ** 28)
    const sides = [await Side.open(hosts.a, folder, 'a'), await Side.open(hosts.b, folder, 'b')]
    const moving = new ProxiedGuest(folder, hosts, sides as [Side, Side])
    t.teardown(() => Promise.all(sides.map((side) => side.close())))
    moving.there.tap.refuse()
    moving.here.guest = await moving.#start(moving.here, false)
    await moving.here.guest.waitReady(`http://${guestAddress}/`, hosts.client)
    return moving
  }

  private constructor (folder: string, hosts: Hosts, [here, there]: [Side, Side]) {
    this.#folder = folder
    this.client = hosts.client
    this.service = new GuestService(hosts.client, guestAddress)
    this.here = here
    this.there = there
  }

  async #start ({ host, nbdSocket }: Side, incoming: boolean): Promise<Guest> {
    return Guest.start({
      ...{ namespace: host.namespace, folder: this.#folder, name: `g${++this.#starts}` },
      ...{ nbdSocket, tapDevice: host.tapDevice, address: guestNetwork, incoming },
      reconnectSeconds: 10
    })
  }

  /** Begins a move to a QEMU that waits for it. */
  async begin (
    t: Test,
    options: Partial<MigrateOptions> = {},
    memory: NonNullable<QemuOptions['memory']> = 'relayed',
    memoryHere = memory
  ): Promise<ProxiedMove> {
    const { here, there } = this
    await there.guest?.kill()
    there.guest = await this.#start(there, true)
    await there.guest.untilMonitored()
    const receiver = await receive({
      disks: [{ destination: there.tap }],
      machine: qemu({ qmp: there.guest.qmpSocket, memory }),
      linkTimeout: '2s'
    })
    const proxy = await FrameProxy.to(receiver.address)
    t.teardown(async () => {
      await proxy.close()
      await receiver.close()
    })
    const givenUp = new Promise<BlockferryError>((resolve) => {
      receiver.on('failed', ({ error }) => resolve(error))
    })
    const migration = migrate({
      ...{ disks: [{ source: here.tap }], destination: proxy.address, linkTimeout: '2s' },
      ...{ machine: qemu({ qmp: here.guest!.qmpSocket, memory: memoryHere }), ...options }
    })
    const result = migration.then(() => null, (error: unknown) => error as BlockferryError)
    return { migration, receiver, proxy, result, givenUp }
  }

  /** Waits for the end of a move that goes through; then `here` is the other host. */
  async arrive ({ migration, receiver }: ProxiedMove): Promise<Report> {
    const report = await migration
    await receiver.done
    ;[this.here, this.there] = [this.there, this.here]
    await this.there.guest!.kill()
    return report
  }
}
