/*
 * The cut-over: fence, drain, derive as of the fence, verify, swap, tail; or abandoned within the outage limit.
 *
 * The target and the kept copy are complete up to the saved token. The old application keeps writing: the fence refuses
 * its inserts and updates, deletes pass, and so does one writer that bypasses validation. Another program writes to the
 * target at the worst time. The new application starts as soon as the target is live. An election undoes what a majority
 * does not have. The process is killed once, at any step, and the command is run again; or a process before it, which was
 * suspended until its lock was lost, wakes up once and raises the fence that it was about to raise.
 */

#ifndef WRITES
#define WRITES 3
#endif
#include "source.pml"

#define BIT(i) (1 << (i))
#define HAS(set, i) (((set) >> (i)) & 1)

/* Source, target, kept copy. After the swap, the target's documents are the live collection. */
byte target[6]; /* [client * BOOKINGS + booking]: the version of the session, 0: absent */
byte kept[BOOKINGS];
#define SESSION(c, b) target[(c) * BOOKINGS + (b)]

#define FOREIGN 2 /* Stands for a booking in an event of the target: another program wrote the document of that client. */
byte foreign;     /* bit set of clients whose document is not what this tool wrote */
bool swapped;
byte swap_time;   /* T_r */

/* The validators: of the source, and of the target, which keeps it when it becomes the live collection. */
mtype = { DOWN, WRITTEN, COMMITTED };
mtype fence = DOWN;
bool guarded;

/*
 * A command that changes a collection waits for its lock in the server: it is executed later, or ends at its maxTimeMS,
 * also if the process that sent it was killed meanwhile.
 */
mtype = { NOTHING, COLLMOD, RENAME };
mtype pending = NOTHING;
byte executed; /* the reply: operationTime + 1, or 0 if the time limit was passed */

/* Durable state of the run. */
byte token = 1;
byte dirty;      /* bit set of bookings */
byte suspect;    /* bit set of clients whose document others may have written */
byte fence_time; /* T_f, recorded before the swap */
byte attempts;   /* two at most, whether abandoned, killed or suspended */
bool refused;    /* the proof failed: not before another whole verify */

/* What the report says after the swap. */
byte named;    /* bit set of bookings: updated past the fence, the version before is live */
byte reported; /* bit set of clients: their document was written by others */

/* What the other writers did. */
bool bypass;        /* a writer that bypasses validation has written */
byte bypass_update; /* bit set of the bookings that it updated */
byte booked;        /* bit set of clients whose live document has a session of the new application */
byte booked_acknowledged;

bool killed, done;
bool awake;  /* the process that was suspended has raised a fence, and does not know yet that its lock is lost */
bool woken;  /* its fence may have been taken for that of this one, and lifting it may have lifted this one's */

proctype OldApplication() {
  byte b;
end:
  do
  :: atomic {
       now < LAST && !swapped ->
       if :: b = 0 :: b = 1 fi;
       skip;
       d_step { look_up(b, now) };
       if
       :: fence == DOWN -> record(b, CLIENT_1)
       :: fence == DOWN -> record(b, CLIENT_2)
       :: found_version != 0 -> record(b, NO_CLIENT)
       :: fence != DOWN && !bypass ->
            bypass = true;
            bypass_update = (found_version == 0 -> 0 : BIT(b));
            record(b, CLIENT_2)
       :: else
       fi;
       b = 0;
       forget_found()
     }
  :: swapped && !guarded -> assert(false) /* An old booking is stored in the live collection. */
  od
}

proctype NewApplication() {
end:
  d_step { swapped -> booked = booked | BIT(CLIENT_1); booked_acknowledged = booked_acknowledged | BIT(CLIENT_1) }
}

/* Another program writes a client document of the target, once, before it is live. */
proctype OtherProgram() {
end:
  d_step {
    now < LAST && !swapped ->
    foreign = foreign | BIT(CLIENT_1);
    record(FOREIGN, CLIENT_1)
  }
}

/* An election undoes a write that only the former primary has. */
proctype Election() {
end:
  d_step { fence == WRITTEN -> fence = DOWN }
}

proctype Server() {
end:
  do
  :: d_step { pending == COLLMOD -> pending = NOTHING; assert(!done); fence = WRITTEN; executed = now + 1 }
  :: d_step { pending == RENAME -> pending = NOTHING; assert(!done); swapped = true; swap_time = now }
  :: d_step { pending != NOTHING -> pending = NOTHING; executed = 0 }
  :: d_step { fence == WRITTEN -> fence = COMMITTED }
  od
}

proctype KillOrWake() {
  if
  :: killed = true
  :: d_step {
       !swapped && !done && attempts < 2 ->
       attempts++;
       awake = true;
       woken = true;
       if :: fence == DOWN -> fence = WRITTEN :: else fi
     };
#ifndef MUTANT_FENCE_NOT_CONFIRMED
     d_step { if :: !swapped -> fence = DOWN :: else fi };
#endif
     awake = false
  fi
}

/* Live collection and kept copy are what the acknowledged writes make. */
inline check(b) {
  look_up(b, swap_time);
  if
  :: HAS(named, b)
  :: else ->
       assert(kept[b] == found_version);
       assert(SESSION(CLIENT_1, b) == (found_client == CLIENT_1 -> found_version : 0));
       assert(SESSION(CLIENT_2, b) == (found_client == CLIENT_2 -> found_version : 0))
  fi;
  forget_found()
}

/* Read one event into two sets. */
inline take(bookings, clients) {
  if
#ifdef MUTANT_TARGET_EVENTS_IGNORED
  :: event_booking[position] == FOREIGN
#else
  :: event_booking[position] == FOREIGN -> clients = clients | BIT(event_client[position])
#endif
  :: else -> bookings = bookings | BIT(event_booking[position])
  fi
}

#ifdef MUTANT_DERIVE_LATEST
#define DERIVED_AT now
#else
#define DERIVED_AT fenced
#endif

/* Derive a booking's sessions and its document of the kept copy as they were at the fence. */
inline derive(b) {
  if
  :: HAS(dirty | drained, b) ->
       d_step {
         look_up(b, DERIVED_AT);
         SESSION(CLIENT_1, b) = (found_client == CLIENT_1 -> found_version : 0);
         SESSION(CLIENT_2, b) = (found_client == CLIENT_2 -> found_version : 0);
         forget_found()
       };
       d_step { look_up(b, fenced); kept[b] = found_version; forget_found() }
  :: else
  fi
}

inline verify(b) {
  if
  :: HAS(dirty | drained, b) ->
       d_step {
         look_up(b, fenced);
         if
         :: kept[b] == found_version &&
            SESSION(CLIENT_1, b) == (found_client == CLIENT_1 -> found_version : 0) &&
            SESSION(CLIENT_2, b) == (found_client == CLIENT_2 -> found_version : 0)
         :: else -> refused = true
         fi;
         forget_found()
       }
  :: else
  fi
}

#ifdef MUTANT_TAIL_OVERWRITES
#define UNCHANGED(c) true
#else
#define UNCHANGED(c) (HAS(booked, c) == seen)
#endif

/*
 * Replace a document of the live collection, which the new application writes too: only if it is what was read before.
 */
inline replace_live(c, b, version) {
  do
  :: SESSION(c, b) == version -> break
  :: SESSION(c, b) != version ->
       seen = HAS(booked, c);
       if
       :: d_step { !UNCHANGED(c) -> seen = 0 }
       :: d_step { UNCHANGED(c) -> booked = (booked & ~BIT(c)) | (seen << c); SESSION(c, b) = version; seen = 0 }
       fi
  od
}

/* What the stream has of a booking after the fence, up to the rename: of several events, the last one counts. */
inline take_late(b) {
  d_step {
    last = swap_time;
    do
    :: last > from && event_booking[last] != b -> last--
    :: else -> break
    od;
    if :: last <= from -> last = 0 :: else -> look_up(b, last - 1) fi
  };
  if
  :: atomic { last == 0 -> forget_found() }
  :: atomic { last != 0 && event_client[last] == NO_CLIENT -> forget_found() };
       kept[b] = 0;
       replace_live(CLIENT_1, b, 0);
       replace_live(CLIENT_2, b, 0)
  :: atomic { last != 0 && event_client[last] != NO_CLIENT && found_version == 0 -> forget_found() };
       /* An insert carries the whole document. */
       kept[b] = last;
       replace_live((CLIENT_1 + CLIENT_2 - event_client[last]), b, 0);
       replace_live(event_client[last], b, last)
  :: atomic { last != 0 && event_client[last] != NO_CLIENT && found_version != 0 -> forget_found() };
       /* An update carries changed fields only: the report names it. */
       named = named | BIT(b)
  fi;
  last = 0
}

proctype CutOver() {
  byte position, drained, drained_suspect, fenced, from, last;
  bit seen;
start:
  {
    position = token;
    /* What an earlier process has sent must have ended before anything is concluded from the state of the collections. */
#ifndef MUTANT_DDL_OUTLIVES_PROCESS
    pending == NOTHING;
#endif

attempt:
    if
    :: swapped -> goto tail
    :: else
    fi;
#ifndef MUTANT_FENCE_LEFT
    fence = DOWN;
#endif
    if
    :: attempts == 2 || refused -> goto ended
    :: atomic { attempts < 2 && !refused -> attempts++ }
    fi;
#ifndef MUTANT_GUARD_AFTER_SWAP
    guarded = true;
#endif

    /* Follow: an event is durable in the dirty set, then the token is saved. */
    do
#ifdef MUTANT_VERDICT_FORGOTTEN
    :: atomic { position < now -> position++; take(dirty, drained_suspect) };
#else
    :: atomic { position < now -> position++; take(dirty, suspect) };
#endif
       token = position
    :: break
    od;

    /* Fence. It counts once a majority has it: no election can undo it then. Until then it only looks as if it stood. */
    executed = 0;
    pending = COLLMOD;
    pending == NOTHING;
    if
    :: executed == 0 -> goto abandon
    :: else -> atomic { fenced = executed - 1; executed = 0 }
    fi;
#if !defined(MUTANT_FENCE_NOT_REREAD) && !defined(MUTANT_FENCE_WITHOUT_MAJORITY)
    if
    :: fence == COMMITTED
    :: fence == DOWN -> goto abandon
    fi;
#endif
#ifndef MUTANT_FENCE_TIME_IN_MEMORY
    fence_time = fenced;
#endif

    /* Drain: in memory only, and on to the fence at least; a batch may reach beyond it. */
    do
    :: atomic { position < now -> position++; take(drained, drained_suspect) }
#ifdef MUTANT_TOKEN_SAVED_IN_DRAIN
       ;
       token = position
#endif
#ifdef MUTANT_DRAIN_BY_CLOCK
    :: break
#else
    :: position >= fenced -> break
#endif
    od;
    if :: goto abandon :: skip fi; /* The outage limit may be passed at any step. */

    /* A document that others wrote stops the cut-over. What is dirty is derived and verified, as of the fence. */
    if
    :: (suspect | drained_suspect) != 0 -> refused = true; goto abandon
    :: else
    fi;
    derive(0);
    derive(1);
    verify(0);
    verify(1);
    if
    :: refused -> goto abandon
    :: else
    fi;
    if :: goto abandon :: skip fi;
#ifndef MUTANT_FENCE_NOT_REREAD
    if
    :: fence != DOWN
    :: else -> goto abandon
    fi;
#endif

    pending = RENAME;
    pending == NOTHING;
    if
    :: swapped -> goto tail
    :: else -> goto abandon
    fi;

abandon:
    /* The source is live as before. What was drained stays dirty: the stream is behind it. */
    atomic {
#ifndef MUTANT_DRAINED_FORGOTTEN
      dirty = dirty | drained;
      suspect = suspect | drained_suspect;
#endif
      drained = 0;
      drained_suspect = 0;
      fenced = 0
    };
    goto attempt;

tail:
    /* What passed the fence: from the fence's time on, not from where the drain had stopped reading. */
#if defined(MUTANT_TAIL_FROM_POSITION)
    from = position;
#elif defined(MUTANT_FENCE_TIME_IN_MEMORY)
    from = (fenced != 0 -> fenced : swap_time);
#elif defined(MUTANT_NO_TAIL)
    from = swap_time;
#else
    from = fence_time;
#endif
    take_late(0);
    take_late(1);
#ifndef MUTANT_TAIL_IGNORES_TARGET
    d_step {
      last = swap_time;
      do
      :: last > from ->
           if
           :: event_booking[last] == FOREIGN -> reported = reported | BIT(event_client[last])
           :: else
           fi;
           last--
      :: else -> break
      od;
      last = 0
    };
#endif
#ifdef MUTANT_GUARD_AFTER_SWAP
    guarded = true;
#endif

ended:
    skip;
    d_step {
      !awake -> done = true;
      /* A difference that is only one of time refuses nothing. */
      assert(!refused || foreign != 0);
      if
      :: swapped ->
           assert((foreign & ~reported) == 0);
           assert(booked == booked_acknowledged);
           assert((named & ~bypass_update) == 0 || woken);
           check(0);
           check(1)
      :: else -> assert(fence == DOWN)
      fi
    }
  } unless {
    atomic {
      killed && !done;
      killed = false;
      position = 0; drained = 0; drained_suspect = 0; fenced = 0; from = 0; last = 0; seen = 0; forget_found()
    };
    goto start
  }
}

init {
  atomic {
    SESSION(CLIENT_1, 0) = 1;
    kept[0] = 1;
    run OldApplication();
    run NewApplication();
    run OtherProgram();
    run Election();
    run Server();
    run KillOrWake();
    run CutOver()
  }
}
