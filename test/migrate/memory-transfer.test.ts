// What the hypervisor is told and asked while its memory goes, one command at a time.
import t from 'tap'

import type { MemoryMachine } from '../../lib/machine/machine.js'
import type { PlannedSituation } from '../../lib/source/memory-transfer.js'
import { MemoryTransfer } from '../../lib/source/memory-transfer.js'
import type { NativeSender } from '../../lib/native/types.js'

const kLink = { pessimistic: 10e6, mean: 12e6, peak: 13e6, settled: true }

/** Says how often each command came; each takes a moment. */
function machine (): { machine: MemoryMachine, told: Record<string, number> } {
  const told: Record<string, number> = { allowPause: 0, slowDown: 0, memoryProgress: 0 }
  const command = async (name: string) => {
    told[name]!++
    await Promise.resolve()
  }
  const fake = {
    sendMemory: async () => {},
    untilPaused: () => new Promise(() => {}),
    allowPause: () => command('allowPause'),
    slowDown: () => command('slowDown'),
    memoryProgress: async () => {
      await command('memoryProgress')
      return { remaining: 50e6, size: 128e6, dirtyRate: 20e6, passes: 2, throttle: 0 }
    }
  }
  return { machine: fake as unknown as MemoryMachine, told }
}

const kSender = {
  openMachine: async () => {},
  setMachineLimits: () => {},
  stats: () => ({ machine: { contentBytes: 1e6, wireBytes: 1e6 } })
} as unknown as NativeSender

const kSituation: PlannedSituation = {
  link: kLink, roundTripMs: 1, downtimeMs: 1000, predictedDowntimeMs: 100, disksReady: true
}
const kSwings: Array<[string, Partial<PlannedSituation>]> = [
  ['the forecast', { predictedDowntimeMs: 700 }],
  ["the disks' readiness", { disksReady: false }]
]

for (const [what, other] of kSwings) {
  t.test(`${what} swings: that keeps nothing else from being asked and told`, async (t) => {
    const { machine: slow, told } = machine()
    const memory = new MemoryTransfer(slow, kSender, 'off', () => {})
    await memory.begin(kSituation, () => {})
    t.teardown(() => memory.close())
    for (let tick = 0; tick < 300; tick++) {
      memory.plan({ ...kSituation, ...(tick % 2 === 1 && other) })
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    t.ok(told['memoryProgress']! >= 2, 'it was asked how far it is, again and again')
    t.ok(told['slowDown']! >= 1, 'it was told to slow down')
    t.ok(told['allowPause']! > 10, 'and what it is allowed')
  })
}

t.test('a hypervisor that decides itself when it pauses is told nothing of that', async (t) => {
  const { machine: { allowPause: _none, ...others }, told } = machine()
  const memory = new MemoryTransfer(others, kSender, 'off', () => {})
  await memory.begin(kSituation, () => {})
  t.teardown(() => memory.close())
  while (told['memoryProgress'] === 0 || told['slowDown'] === 0) {
    memory.plan(kSituation)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  t.equal(told['allowPause'], 0)
})
