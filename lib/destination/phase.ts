// What a migration is at its destination, and what may come next. Named as in the model (test/model/ownership.pml)
// and the journal, which know `receiving` (all before `deciding`), `committed` and `refused`.
//
//   ──▶ greeting ──▶ preparing ──▶ receiving ──▶ switching ◀──▶ sealed ──▶ deciding ──────▶ committed ──▶ heard
//          │             │             │             │            │           │  the link         ▲
//          │             │             │             │            │           ▼  breaks           │
//          │             │             │             │            │      decidingAlone ───────────┘
//          ▼             ▼             ▼             ▼            ▼           │
//       refused       refused       refused    refused, lost  refused, lost   │ from both:
//                                                                             ▼ lost, the journal says no; unknown
//
import { StateMachine } from '../base/state-machine.js'

/**
 * `greeting`: no offer yet. `preparing`: what an offer needs is set up. `receiving`: the source was told to begin.
 * `switching`: it has stopped its writers, and may tell us to decide. `sealed`: nothing more is taken, and what is
 * here is compared. `deciding`, `decidingAlone`: the commit is being made durable, and only the disk can still say
 * no; the link may be gone. `committed`: the disks are owned here; `heard`: and the source knows.
 * `refused`: it came to nothing. `lost`: the same, and the source may ask, as the link broke when it may have told us
 * to decide. `unknown`: nobody knows whether the commit is durable.
 */
export type Phase =
  | 'greeting' | 'preparing' | 'receiving' | 'switching' | 'sealed' | 'deciding' | 'decidingAlone'
  | 'committed' | 'heard' | 'refused' | 'lost' | 'unknown'

const kArrows: Record<Phase, readonly Phase[]> = {
  greeting: ['preparing', 'refused'],
  preparing: ['receiving', 'refused'],
  receiving: ['switching', 'refused'],
  switching: ['switching', 'sealed', 'refused', 'lost'],
  sealed: ['switching', 'deciding', 'refused', 'lost'],
  deciding: ['decidingAlone', 'committed', 'lost', 'unknown'],
  decidingAlone: ['committed', 'lost', 'unknown'],
  committed: ['heard'],
  heard: [],
  refused: [],
  lost: [],
  unknown: []
}

export class DestinationPhase extends StateMachine<Phase> {
  constructor () {
    super('the migration at the destination', kArrows, 'greeting')
  }

  /** The disks are owned here. */
  get isCommitted (): boolean {
    return this.is('committed', 'heard')
  }

  /** It has ended without a commit that is known. */
  get isOver (): boolean {
    return this.is('refused', 'lost', 'unknown')
  }

  /** The source sends, or may. */
  get isReceiving (): boolean {
    return this.is('receiving', 'switching')
  }
}
