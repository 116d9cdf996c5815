/* The ownership of a disk in a migration: two sides, each with a journal that survives its crashes,
 * and a link that loses messages. The states are those of lib/ownership/journal.ts.
 *
 * Checked: never do both sides let writes through, and in the end exactly one does, whatever was
 * lost or crashed before (both happen only so often: then the link is there and asks are answered).
 */
#define LOSSES 3
#define CRASHES 2

mtype = { copying, committing, moved, kept };       /* source's journal */
mtype = { receiving, committed, refused };          /* destination's journal */
mtype = { commit, done, query, yes, no };           /* messages */

mtype source = copying;
mtype destination = receiving;
bool source_writes = true;                          /* lost in a crash */
bool destination_writes = false;
byte losses = 0;
byte source_crashes = 0;
byte destination_crashes = 0;

/* The commit and the questions travel on connections of their own: either may overtake. */
chan commits = [1] of { mtype };
chan questions = [2] of { mtype };
chan to_source = [2] of { mtype };

/* A message is sent, or lost on the way: by the link or by a full queue. */
inline tell(channel, message) {
  if
  :: nfull(channel) -> channel!message
  :: losses < LOSSES -> losses++
  :: full(channel) -> skip
  fi
}

active proctype Source() {
  mtype answer;
  bool asked = false;

copy:
  if
  :: true -> source_writes = false;                 /* the tap holds every write */
     source = committing;                           /* durable before the message goes */
     if
     :: tell(commits, commit)
     :: source = kept; source_writes = true; goto end  /* the residual took too long */
     :: source_crashes < CRASHES -> goto crash
     fi
  :: source = kept; goto end                        /* cancelled, or the link broke */
  :: source_crashes < CRASHES -> goto crash
  fi;

wait:
  do
  :: to_source?answer ->
     if
     :: answer == done || answer == yes -> source = moved; goto end
     :: answer == no -> source = kept; source_writes = true; goto end
     fi
  :: empty(to_source) -> tell(questions, query)   /* the link broke: ask */
  :: source_crashes < CRASHES -> goto crash
  od;

crash:
  source_crashes++;
  source_writes = false;
  if                                                /* it starts again and reads its journal */
  :: source == copying -> source = kept; source_writes = true; goto end
  :: source == committing -> goto wait
  fi;

end:
  /* Settled: a crash from here on changes nothing but the moment. Stale answers mean nothing. */
  do
  :: to_source?answer -> skip
  od
}

active proctype Destination() {
  mtype message;

end_destination:
  do
  :: commits?message ->
     if
     :: destination == receiving ->
        if
        :: destination = committed;                 /* durable before anything else */
           if
           :: destination_crashes < CRASHES -> destination_crashes++; goto restart
           :: destination_writes = true; tell(to_source, done)
           fi
        :: destination = refused; tell(to_source, no)  /* the two sides are not equal */
        fi
     :: else -> skip
     fi
  :: questions?message ->
     if
     :: destination == receiving -> destination = refused   /* asking ends it */
     :: else -> skip
     fi;
     if
     :: destination == committed -> tell(to_source, yes)
     :: else -> tell(to_source, no)
     fi
  :: destination == receiving -> destination = refused   /* the link broke */
  :: destination_crashes < CRASHES -> destination_crashes++; goto restart
  od;

restart:
  destination_writes = false;
  if
  :: destination == receiving -> destination = refused
  :: destination == committed -> destination_writes = true
  :: destination == refused -> skip
  fi;
  goto end_destination
}

/* So that a run in which both sides wait for ever is one without an end, and is looked at. */
bool tick = false;
active proctype Clock() {
  do
  :: tick = !tick
  od
}

#define both (source_writes && destination_writes)
#define one ((source_writes || destination_writes) && !both)

ltl never_two { [] !both }
ltl one_in_the_end { <> [] one }
