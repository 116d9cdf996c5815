// Which phases of a dm tap may follow which.
#include "tap/dm/phase.h"

#include "test/check.h"

using namespace blockferry;
using enum DmPhase;

namespace {

constexpr DmPhase kAll[] = {watching, bare, held, fencing, fencing_loose, fenced};

void fenced_is_the_end() {
  for (DmPhase next : kAll) CHECK(!may_follow(fenced, next));
}

void who_is_to_refuse_does_not_watch_again_while_writers_run() {
  for (DmPhase next : kAll) CHECK(may_follow(fencing_loose, next) == (next == fenced));
}

// Its marks would be taken for all that was written.
void nothing_is_held_that_was_not_watched() {
  for (DmPhase now : kAll) CHECK(may_follow(now, held) == (now == watching));
}

void only_a_refusal_comes_before_a_fence() {
  for (DmPhase now : kAll) CHECK(may_follow(now, fenced) == (is_refusing(now) && now != fenced));
}

void no_phase_follows_itself() {
  for (DmPhase phase : kAll) CHECK(!may_follow(phase, phase));
}

}  // namespace

int main() {
  RUN(fenced_is_the_end());
  RUN(who_is_to_refuse_does_not_watch_again_while_writers_run());
  RUN(nothing_is_held_that_was_not_watched());
  RUN(only_a_refusal_comes_before_a_fence());
  RUN(no_phase_follows_itself());
}
