// Which phases of a migration may follow which at its source: the arrows that ownership rests on.
import t from 'tap'

import type { Phase } from '../../lib/source/phase.js'
import { SourcePhase } from '../../lib/source/phase.js'

const kAll: readonly Phase[] = ['copying', 'pausing', 'deciding', 'moved', 'kept', 'unknown']
const kWays: Record<Phase, readonly Phase[]> = {
  copying: [],
  pausing: ['pausing'],
  deciding: ['pausing', 'deciding'],
  moved: ['pausing', 'deciding', 'moved'],
  kept: ['kept'],
  unknown: ['pausing', 'deciding', 'unknown']
}

function at (phase: Phase): SourcePhase {
  const migration = new SourcePhase()
  for (const next of kWays[phase]) migration.to(next)
  return migration
}

function follows (phase: Phase, next: Phase): boolean {
  const migration = at(phase)
  try {
    migration.to(next)
  } catch {
    return false
  }
  return migration.is(next)
}

t.test('what is over stays as it is', async (t) => {
  for (const over of ['moved', 'kept', 'unknown'] as const) {
    t.same(kAll.filter((next) => follows(over, next)), [], over)
  }
})

t.test('the disks can only be the destination\'s, or nobody knows whose, when it was told to decide', async (t) => {
  for (const next of ['moved', 'unknown'] as const) {
    t.same(kAll.filter((phase) => follows(phase, next)), ['deciding'], next)
  }
})

t.test('nobody is told to decide while writes flow, and none flow before it is known what was decided', async (t) => {
  t.same(kAll.filter((phase) => follows(phase, 'deciding')), ['pausing'])
  t.notOk(follows('deciding', 'copying'))
})
