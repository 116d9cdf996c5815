// What a migration is at its source, and what may come next. Named as in the model (test/model/ownership.pml),
// whose `committing`, a word of the journal, is `pausing` and `deciding` here.
//
//              ┌──────────┐ taken back, or lost before the commit message
//              ▼          │
//   ──▶ copying ──▶ pausing ──▶ deciding ──▶ moved
//       ▲     │     ▲   │        │   │  │
//       └─────┤     └───┼────────┘   │  └──▶ unknown
//     a new   │  not equal: sent     │
//     link    ▼  again, or it has    │ not equal, or
//            kept ◀─┘  not committed └──▶ kept: the destination has failed
//
import { StateMachine } from '../base/state-machine.js'

/**
 * `copying`: the disks are ours, and writes flow. `pausing`: the writers are being stopped, or are; the disks are
 * ours. `deciding`: the commit message goes, or has gone: no write may pass, as the destination may own the disks.
 * `moved`, `kept`, `unknown`: it is over, and the destination, the source or nobody knows who owns them.
 */
export type Phase = 'copying' | 'pausing' | 'deciding' | 'moved' | 'kept' | 'unknown'

const kArrows: Record<Phase, readonly Phase[]> = {
  copying: ['copying', 'pausing', 'kept'],
  pausing: ['copying', 'deciding', 'kept'],
  deciding: ['pausing', 'moved', 'kept', 'unknown'],
  moved: [],
  kept: [],
  unknown: []
}

export class SourcePhase extends StateMachine<Phase> {
  constructor () {
    super('the migration at the source', kArrows, 'copying')
  }
}
