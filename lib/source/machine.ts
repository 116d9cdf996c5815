// The machine at the source during a migration: prepared, its memory sent, and given back its life
// when it comes to nothing.
import type { Machine, MachineDescription, MemoryMachine, MemoryProgress } from '../machine/machine.js'
import { isMemoryMachine } from '../machine/machine.js'
import type { MigrationEvent } from '../session/events.js'
import { machineCall } from '../session/machine-call.js'
import type { PlannedSituation } from './memory-transfer.js'
import { MemoryTransfer } from './memory-transfer.js'
import type { CheckedMigrateOptions } from './options.js'
import type { SourceLink } from './link.js'

/** Of memory, before anything is known of it: much of it is zeroes, and the rest compresses. */
const kShrinksTo = 0.4

/** A hypervisor that waits for the link in the middle of its memory answers nobody: after this long
 * the link is ended to free it. */
const kStuckMs = 500

export class SourceMachine {
  readonly machine: Machine
  readonly #compression: CheckedMigrateOptions['compression']
  #memory: MemoryTransfer | null = null
  readonly #onGone: (reason: Error) => void
  readonly #networkMoves: boolean
  #size = 0
  #isTouched = false

  /** `onGone`: called when the hypervisor is gone, with the reason. */
  constructor (options: CheckedMigrateOptions, onGone: (reason: Error) => void) {
    const { machine, compression, network } = options
    this.#onGone = onGone
    this.#networkMoves = network !== null
    this.machine = machine
    this.#compression = compression
  }

  /** Null when its memory does not move, or has not begun to. */
  get memory (): MemoryTransfer | null {
    return this.#memory
  }

  get movesMemory (): boolean {
    return this.#withMemory() !== null
  }

  /** Wire bytes of memory that have to go before a switchover can; an estimate. */
  get memoryAhead (): number {
    return this.#memory?.aheadBytes ?? this.#size * kShrinksTo
  }

  /** What the destination has to know; null when its memory does not move. */
  async prepare (): Promise<MachineDescription | null> {
    const machine = this.#withMemory()
    if (machine === null) return null
    const description = await machineCall('prepare', () => machine.prepare())
    this.#size = description.memory
    void machine.untilGone?.().then((reason) => {
      // Once memory goes the transfer knows better what went wrong.
      if (this.#memory === null) this.#onGone(reason)
    })
    if (this.#networkMoves) delete description.unbridged
    return description
  }

  /** It is about to be paused: it has to be told when that comes to nothing. */
  touch (): void {
    this.#isTouched = true
  }

  /** Begins to send the memory, if that moves. `wake`: see MemoryTransfer.begin(). */
  async sendMemory (
    link: SourceLink, situation: () => PlannedSituation, wake: () => void, emit: (event: MigrationEvent) => void
  ): Promise<void> {
    const machine = this.#withMemory()
    if (machine === null) return
    const tell = (progress: MemoryProgress) => emit({ event: 'memory', ...progress })
    const memory = this.#memory = new MemoryTransfer(machine, link.sender, this.#compression, tell)
    await link.ask('memory', {}, 'memoryReady')
    this.touch()
    await memory.begin(situation(), wake)
  }

  /** Lets it run again, if it was touched. */
  async takeBack (link: SourceLink | null): Promise<void> {
    if (!this.#isTouched) return
    this.#isTouched = false
    const timer = setTimeout(() => {
      if (this.#memory !== null) void link?.close()
    }, kStuckMs)
    try {
      await machineCall('resume', () => this.machine.resume?.())
    } finally {
      clearTimeout(timer)
    }
  }

  /** It runs at the destination. */
  async release (): Promise<void> {
    const machine = this.#withMemory()
    if (machine?.release !== undefined) await machineCall('release', () => machine.release!())
  }

  /** Lets go of it. */
  async close (): Promise<void> {
    await this.#memory?.close()
    await this.#withMemory()?.close()
  }

  #withMemory (): MemoryMachine | null {
    return isMemoryMachine(this.machine) ? this.machine : null
  }
}
