// A guest that moves between two hosts while clients use it, and what must hold after whatever
// went wrong on the way.

import type { Test } from 'tap'
import { Qmp } from '../../testbed/support/qmp.js'
import type { Client, Echoed, Written } from '../../testbed/clients/clients.js'
import { echoNumbers, writeRecords } from '../../testbed/clients/clients.js'
import { lostWrites } from '../../testbed/guests/log.js'
import { GuestService } from '../../testbed/guests/service.js'
import type { Guest } from '../../testbed/guests/guest.js'
import { Hosts, type HostsOptions } from '../../testbed/hosts/hosts.js'
import { MovingGuest, type Move, type MovingGuestOptions } from '../../testbed/guests/moving-guest.js'

export interface ObservedOptions extends MovingGuestOptions {
  readonly hosts?: HostsOptions
}

/** Asks a guest's second monitor. */
export async function ask<T = any> (
  guest: Guest,
  command: string,
  args: Record<string, unknown> = {}
): Promise<T> {
  const qmp = await Qmp.connect(guest.monitorSocket)
  try {
    return (await qmp.execute(command, args)) as T
  } finally {
    qmp.close()
  }
}

/** 'running', 'paused', 'inmigrate' …; 'gone' when its QEMU has ended. */
export async function stateOf (guest: Guest | null): Promise<string> {
  if (guest === null || guest.hasEnded) return 'gone'
  try {
    return (await ask<{ status: string }>(guest, 'query-status')).status
  } catch (error) {
    await Promise.race([guest.ended(), new Promise((resolve) => setTimeout(resolve, 5000))])
    if (guest.hasEnded) return 'gone'
    throw error
  }
}

export interface Failure {
  readonly code: string
  readonly message: string
  readonly owner: string
}

/** How a move's send failed; its receive has ended, too: one whose offer was refused is told to. */
export async function failureOf ({ send, receive }: Move): Promise<Failure> {
  await send.ended
  if (!send.events.some(({ event }) => event === 'started')) receive.child.kill('SIGTERM')
  await receive.ended
  const last = send.events.at(-1) as { event: string, error: Failure } | undefined
  if (last?.event !== 'failed') throw new Error(`it should have failed: ${send.lastWords}`)
  return last.error
}

interface Capability {
  readonly capability: string
  readonly state: boolean
}

/** What blockferry sets for a move. */
const ours = ['events', 'pause-before-switchover', 'auto-converge']

export class Observed {
  readonly hosts: Hosts
  readonly moving: MovingGuest
  readonly service: GuestService
  readonly #writes: Client<Written>
  readonly #echoes: Client<Echoed>
  #writtenByHand = 0
  #records: string[] = []

  /** A small guest that runs on host A, with clients. All goes with the test. */
  static async boot (t: Test, options: ObservedOptions = {}): Promise<Observed> {
    const hosts = await Hosts.make(options.hosts)
    t.teardown(() => hosts.close())
    return Observed.#boot(t, hosts, options)
  }

  /** A second one on the same hosts. */
  async bootSecond (t: Test): Promise<Observed> {
    return Observed.#boot(t, this.hosts, { second: true })
  }

  static async #boot (t: Test, hosts: Hosts, options: ObservedOptions): Promise<Observed> {
    const small = { diskBytes: 2 ** 28, contentBytes: 2 ** 23, linkTimeout: '2s', patienceMs: 200_000 }
    const moving = await MovingGuest.boot(hosts, { ...small, ...options })
    t.teardown(() => moving.close())
    const observed = new Observed(hosts, moving)
    t.teardown(() => Promise.all([observed.#writes.kill(), observed.#echoes.kill()]))
    return observed
  }

  private constructor (hosts: Hosts, moving: MovingGuest) {
    const clients = { namespace: hosts.client, address: moving.address }
    this.hosts = hosts
    this.moving = moving
    this.service = new GuestService(hosts.client, moving.address)
    this.#writes = writeRecords(clients)
    this.#echoes = echoNumbers(clients)
  }

  /** A move to a QEMU that waits for it. */
  async begin (...options: readonly string[]): Promise<Move> {
    await this.moving.prepareThere()
    return this.moving.begin(...options)
  }

  /** The guest runs at the source, as fast as before, and nowhere else. */
  async checkRunsHere (t: Test): Promise<void> {
    const { here, there } = this.moving
    t.equal(await stateOf(here.guest), 'running', 'it runs at the source')
    t.not(await stateOf(there.guest), 'running', 'and not at the destination')
    const { 'cpu-throttle-percentage': slowed = 0 } = await ask(here.guest!, 'query-migrate')
    t.equal(slowed, 0, 'nobody slows it down')
    const capabilities = await ask<Capability[]>(here.guest!, 'query-migrate-capabilities')
    const left = capabilities.filter(({ capability, state }) => state && ours.includes(capability))
    t.same(left, [], "QEMU's capabilities are as before")
    await this.checkAnswers(t)
  }

  async checkAnswers (t: Test): Promise<void> {
    this.#records.push(await this.service.write(++this.#writtenByHand))
    t.pass('it answers and writes')
  }

  /** A move goes through. */
  async checkMoves (t: Test, ...options: readonly string[]): Promise<void> {
    const report = await this.moving.move(...options)
    t.equal(report.equal, true, 'a move succeeds')
    t.equal(await stateOf(this.moving.here.guest), 'running', 'it runs where it has moved')
    await this.checkAnswers(t)
  }

  /** No connection broke, no request failed, and no acknowledged write is lost. */
  async checkClients (t: Test): Promise<void> {
    const [written, echoed] = [await this.#writes.stop(), await this.#echoes.stop()]
    t.comment(`longest gaps, ms: writes ${written.longestGapMs}, echo ${echoed.longestGapMs}`)
    t.equal(written.failed, 0, 'no request failed')
    t.match(echoed, { wrong: 0, broken: 0, failed: 0 }, 'the connection never broke')
    await this.#checkLog(t, written)
  }

  /** No acknowledged write is lost, whatever became of the guest. */
  async checkWrites (t: Test): Promise<void> {
    const { here, there } = this.moving
    await this.#echoes.kill()
    await Promise.all([here, there].map(async ({ guest }) => guest?.kill()))
    await this.#checkLog(t, await this.#writes.stop())
  }

  async #checkLog (t: Test, { acknowledged }: Written): Promise<void> {
    const { guest, serve, image } = this.moving.here
    await guest!.kill()
    await serve.kill('SIGTERM')
    const records = [...acknowledged, ...this.#records]
    t.same(await lostWrites(image, records), [], 'no write is lost')
  }
}

/** Slow enough to do something in the middle of the disk copy and of the memory's. */
export const slowly = ['--bandwidth', '60Mbit/s']

/** The phases of a move in which a test does something. */
export const phases = {
  // A disk that comes back may have next to nothing to send.
  'the disk copy': (move: Move) => move.send.event('progress', ({ phase }) => phase === 'bulk'),
  "the memory's": (move: Move) => move.send.event('memory', ({ passes }) => passes > 0)
}
