/* The ownership of a disk in a migration: two sides, each with a journal that survives its crashes,
 * and a link that loses messages. The states are those of lib/ownership/journal.ts.
 *
 * Checked: never do both sides let writes through, and in the end exactly one does, whatever was
 * lost or crashed before (both happen only so often: then the link is there and asks are answered).
 * And never is a frame of the source's applied to what was compared for a commit. Another peer, that
 * knows the migration's name, offers it, too.
 */
#define LOSSES 3
#define CRASHES 2
#define FRAMES 1
#define MAY_CLAIM false         /* a name is whose who has offered it first, and that is the source */

mtype = { copying, committing, moved, kept };       /* source's journal */
mtype = { receiving, committed, refused };          /* destination's journal */
mtype = { commit, done, query, yes, no };           /* messages */
mtype = { none };

mtype source = copying;
mtype destination = receiving;
bool source_writes = true;                          /* lost in a crash */
bool destination_writes = false;
bool sealed = false;                                /* the streams of the session apply nothing */
bool applying = false;                              /* one of them is at a frame */
bool compared = false;                              /* with what the source says it has sent */
bool overwritten = false;                           /* what was compared */
mtype forged = none;                                /* the other peer's session of the same name */
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
        sealed = true;
        !applying -> compared = true;
        if
        :: destination = committed;                 /* durable before anything else */
           if
           :: destination_crashes < CRASHES -> destination_crashes++; goto restart
           :: destination_writes = true; tell(to_source, done)
           fi
        :: compared = false; sealed = false;        /* the two sides are not equal */
           destination = refused; tell(to_source, no)
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
     :: destination != committed && forged == committed -> tell(to_source, yes)
     :: else -> tell(to_source, no)
     fi
  :: destination == receiving -> destination = refused   /* the link broke */
  :: destination_crashes < CRASHES -> destination_crashes++; goto restart
  od;

restart:
  destination_writes = false;
  sealed = true;                                    /* its connections have ended */
  if
  :: destination == receiving -> destination = refused
  :: destination == committed -> destination_writes = true
  :: destination == refused -> skip
  fi;
  goto end_destination
}

/* Of the source, in the session of its migration: they go their way beside what is decided, and one that
 * lies sends more than it says. */
active proctype Streams() {
  byte frames = 0;

end_streams:
  do
  :: atomic { !sealed && frames < FRAMES -> frames++; applying = true };
     atomic { overwritten = overwritten || compared; applying = false }
  od
}

/* Another peer. What it sends of its own is equal to what it says. */
active proctype Other() {
end_other:
  do
  :: MAY_CLAIM && forged == none -> forged = receiving
  :: forged == receiving -> forged = committed
  :: forged == receiving -> forged = refused
  od
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

ltl never_overwritten { [] !overwritten }
ltl never_two { [] !both }
ltl one_in_the_end { <> [] one }
