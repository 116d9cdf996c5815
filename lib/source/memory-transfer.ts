// The machine's memory on its way: begun when the disks fit, planned beside them, finished in the
// pause.
import { toBlockferryError } from '../base/errors.js'
import type { MemoryMachine, MemoryProgress } from '../machine/machine.js'
import type { NativeSender } from '../native/types.js'
import { machineCall } from '../session/machine-call.js'
import { privateSocket } from '../session/memory-socket.js'
import type { MemoryPlan, MemoryAssessment } from '../policy/memory.js'
import { planMemory } from '../policy/memory.js'

/** What is known outside. */
export type PlannedSituation = Omit<MemoryAssessment, 'content' | 'wire' | 'dirtyRate'>

/** Changes of what is allowed below this factor are not worth a command. */
const kWorthTelling = 1.2
/** How often the hypervisor is asked how far it is, ms. */
const kAskMs = 500

/** For the hypervisor, in the order of their weight. They take turns: forecasts swing, and one that is
 * due all the time must not keep the others back. */
const kCommands = ['ask', 'help', 'allow'] as const
type Command = typeof kCommands[number]

export class MemoryTransfer {
  readonly #machine: MemoryMachine
  readonly #sender: NativeSender
  readonly #compression: 'auto' | 'on' | 'off'
  readonly #onProgress: (progress: MemoryProgress) => void
  #socket: { path: string, remove: () => Promise<void> } | null = null
  #paused = false
  #allowed = 0
  #telling = false
  #lastTold: Command | null = null
  #askedAt = 0
  #failure: { error: unknown } | null = null
  #dirtyRate = 0
  #remaining = 0
  #helping = false

  constructor (
    machine: MemoryMachine, sender: NativeSender, compression: 'auto' | 'on' | 'off',
    onProgress: (progress: MemoryProgress) => void
  ) {
    this.#machine = machine
    this.#sender = sender
    this.#compression = compression
    this.#onProgress = onProgress
  }

  /** The destination must be listening. `wake` is called when the machine has paused itself. */
  async begin (situation: PlannedSituation, wake: () => void): Promise<void> {
    this.#socket = await privateSocket()
    this.#limit(this.#planned(situation))
    try {
      await this.#sender.openMachine(this.#socket.path)
    } catch (error) {
      throw toBlockferryError(error)
    }
    await machineCall('sendMemory', () => this.#machine.sendMemory(this.#socket!.path))
    machineCall('untilPaused', () => this.#machine.untilPaused()).then(
      () => { this.#paused = true },
      (error: unknown) => { this.#failure = { error } }
    ).finally(wake)
  }

  /** The machine stands still, with the rest of its memory to be sent. MACHINE when it won't. */
  get paused (): boolean {
    if (this.#failure !== null) throw this.#failure.error
    return this.#paused
  }

  /** See MemoryMachine. */
  get running (): boolean {
    return this.#machine.running
  }

  /** Wire bytes that are left; an estimate. */
  get aheadBytes (): number {
    const { contentBytes, wireBytes } = this.#sender.stats().machine
    return this.#remaining * (contentBytes > 0 ? wireBytes / contentBytes : 1)
  }

  /** To be called now and then until it has paused. */
  plan (situation: PlannedSituation): void {
    const plan = this.#planned(situation)
    this.#limit(plan)
    if (this.#telling || this.#paused) return
    const isDue = {
      ask: performance.now() - this.#askedAt > kAskMs,
      help: plan.help !== this.#helping,
      allow: this.#machine.allowPause !== undefined &&
        Math.max(plan.allowedMs, this.#allowed) > kWorthTelling * Math.min(plan.allowedMs, this.#allowed)
    }
    const due = kCommands.filter((command) => isDue[command])
    const next = due.find((command) => command !== this.#lastTold) ?? due[0]
    if (next !== undefined) this.#tell(next, plan)
  }

  /** Sends the rest. */
  async finish (): Promise<void> {
    await machineCall('finishMemory', () => this.#machine.finishMemory())
  }

  async close (): Promise<void> {
    await this.#socket?.remove()
  }

  #planned (situation: PlannedSituation): MemoryPlan {
    const { contentBytes, wireBytes } = this.#sender.stats().machine
    return planMemory({
      ...situation, content: contentBytes, wire: wireBytes, dirtyRate: this.#dirtyRate
    })
  }

  #limit ({ maxInFlight, compress }: MemoryPlan): void {
    const on = this.#compression === 'on' || (this.#compression === 'auto' && compress)
    this.#sender.setMachineLimits(Math.round(maxInFlight), on ? 1 : 0)
  }

  async #ask (): Promise<void> {
    const progress = await this.#machine.memoryProgress()
    this.#dirtyRate = progress.dirtyRate ?? 0
    this.#remaining = progress.remaining
    this.#onProgress(progress)
  }

  /** One command at a time; one that fails shows in untilPaused(), too. */
  #tell (command: Command, plan: MemoryPlan): void {
    this.#telling = true
    this.#lastTold = command
    this.#do(command, plan).catch(() => {}).finally(() => { this.#telling = false })
  }

  async #do (command: Command, { allowedMs, bytesPerSecond, help }: MemoryPlan): Promise<void> {
    if (command === 'ask') {
      this.#askedAt = performance.now()
      return await this.#ask()
    }
    if (command === 'help') {
      this.#helping = help
      return await this.#machine.slowDown?.(help)
    }
    this.#allowed = allowedMs
    await this.#machine.allowPause?.({ downtimeMs: allowedMs, bytesPerSecond })
  }
}
