// The machine at the destination during a migration: it waits for what is offered, and takes its
// memory in.
import { inTurn } from '../base/in-turn.js'
import { BlockferryError } from '../base/errors.js'
import type { Machine, MachineDescription, MemoryMachine } from '../machine/machine.js'
import { isMemoryMachine } from '../machine/machine.js'
import { machineCall } from '../session/machine-call.js'
import { privateSocket } from '../session/memory-socket.js'
import type { DestinationDisks } from './disks.js'

export class DestinationMachine {
  readonly #machine: MemoryMachine | null
  readonly #onGone: (reason: Error) => void
  #state: 'free' | 'expecting' | 'receiving' | 'arrived' | 'gone' = 'free'
  #socket: Awaited<ReturnType<typeof privateSocket>> | null = null
  #isReleased = false

  /** `onGone`: called when the hypervisor is gone, with the reason. */
  constructor (machine: Machine, onGone: (reason: Error) => void) {
    this.#machine = isMemoryMachine(machine) ? machine : null
    this.#onGone = onGone
  }

  /** It waits for this migration's machine, and for no other's. */
  get isTaken (): boolean {
    return this.#state !== 'free'
  }

  /** Everything is here, and it could run; or its memory does not move. */
  get isReady (): boolean {
    return this.#machine === null || this.#state === 'arrived'
  }

  /** Both sides must agree on whether there is a machine, and on what kind. */
  async expect (offered: MachineDescription | null): Promise<void> {
    const machine = this.#machine
    if (machine === null && offered === null) return
    if (machine === null) {
      throw new BlockferryError('MACHINE', 'no machine waits here for the one that is offered')
    }
    if (offered === null) {
      throw new BlockferryError('MACHINE', 'a machine waits here, and only disks are offered')
    }
    this.#state = 'expecting'
    await machineCall('expect', () => machine.expect(offered))
    void machine.untilGone?.().then((reason) => {
      // While memory comes untilArrived() knows better what went wrong.
      if (this.#state === 'receiving') return
      this.#state = 'gone'
      this.#onGone(reason)
    })
  }

  /** BAD_SIZE when it would see more than the disks. */
  checkSees ({ taps }: DestinationDisks): void {
    if (this.#machine?.opensDisks !== true) return
    const larger = taps.find(({ tap, wanted }) => tap.capacity > tap.size && !wanted.force)
    if (larger === undefined) return
    const { tap } = larger
    throw new BlockferryError('BAD_SIZE',
      `${tap.source} has ${tap.capacity} bytes and ${tap.name} ${tap.size}: the machine would see what lies ` +
      'behind its end (a device-mapper or loop device of the exact size hides it; force lets it)')
  }

  /** Takes the memory in, once, to a socket that `listening` is told of; resolves when everything is
   * here. PROTOCOL when it is not its time; CLOSED when the migration ended meanwhile. */
  async receive (listening: (path: string) => void): Promise<void> {
    const machine = this.#machine
    if (machine === null || this.#state !== 'expecting') {
      throw new BlockferryError('PROTOCOL', 'memory that nobody waits for')
    }
    this.#state = 'receiving'
    const { path } = this.#socket = await privateSocket()
    if (this.#isReleased) {
      await this.#socket.remove()
      throw new BlockferryError('CLOSED', 'the migration has ended')
    }
    await machineCall('receiveMemory', () => machine.receiveMemory(path))
    listening(path)
    await machineCall('untilArrived', () => machine.untilArrived())
    this.#state = 'arrived'
  }

  /** Nothing more comes. The machine goes on as it is. */
  async release (): Promise<void> {
    this.#isReleased = true
    await this.#socket?.remove()
  }

  /** Lets go of the machine, too. `isOver`: it does not come here. */
  async close (isOver: boolean): Promise<void> {
    await this.release()
    if (!this.isTaken) return
    await inTurn(
      async () => { if (isOver) await this.#machine!.discard?.() }, // what is left is paused
      () => this.#machine!.close())
  }
}
