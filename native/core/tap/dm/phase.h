// Where the device of a dm tap stands, and what may come next.
//
//            failed          hold, drain            refuse
//    bare ◀────────── watching ─────────▶ held ──────────────▶ fencing ──▶ fenced
//     │ │               ▲  ▲ │             │  │                   │          ▲
//     │ └───────────────┘  └─┼─────────────┴──┼───────────────────┘          │
//     │   counts anew        │ open           └──▶ bare: at its end          │
//     └──────────────────────┴──▶ fencing_loose (refused while writers ran) ─┘
#pragma once

namespace blockferry {

enum class DmPhase {
  watching,       // dm-era is under the device, and its writers write
  bare,           // the device has its own table: nothing is seen
  held,           // suspended: reads and writes wait
  fencing,        // suspended, and to fail from now on: that could not be done yet
  fencing_loose,  // the same of a device that was not suspended
  fenced,         // its I/O fails: the other side owns the disk
};

constexpr bool is_suspended(DmPhase phase) {
  return phase == DmPhase::held || phase == DmPhase::fencing;
}

constexpr bool is_refusing(DmPhase phase) { return phase >= DmPhase::fencing; }

constexpr bool may_follow(DmPhase now, DmPhase next) {
  using enum DmPhase;
  switch (now) {
    case watching: return next == bare || next == held || next == fencing_loose;
    case bare: return next == watching || next == fencing_loose;
    case held: return next == watching || next == bare || next == fencing;
    case fencing: return next == watching || next == fenced;
    case fencing_loose: return next == fenced;
    case fenced: return false;
  }
  return false;
}

}  // namespace blockferry
