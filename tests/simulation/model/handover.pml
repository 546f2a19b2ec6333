/*
 * The hand-over: a second process takes over an expired lock, but the first process is only paused.
 *
 * A follower confirms its lease before each write, but a process can be paused exactly between the two. The write that it
 * then sends late must do no harm: a client document is replaced only if it is what was read, an entry of the dirty set is
 * removed only if no newer event has renewed it, the token is saved only together with the lease, and what another process
 * writes to the target or the kept copy is an event of the stream that makes that document dirty.
 */

#ifndef WRITES
#define WRITES 2
#endif
#include "source.pml"

byte target[6]; /* [client * BOOKINGS + booking]: the version of the session, 0: absent */
byte kept[BOOKINGS];
#define SESSION(c, b) target[(c) * BOOKINGS + (b)]

byte lease = 1; /* The fencing token of the holder. */
byte token = 1;
byte dirty[BOOKINGS];   /* the newest event that made the booking dirty, 0: it is not */
byte touched;           /* bit set of the clients whose document a process without the lease has written */
byte touched_bookings;  /* the same for documents of the kept copy */

proctype Application() {
  byte b;
end:
  do
  :: atomic {
       now < LAST ->
       if :: b = 0 :: b = 1 fi;
       skip;
       d_step { look_up(b, now) };
       if
       :: record(b, CLIENT_1)
       :: record(b, CLIENT_2)
       :: found_version != 0 -> record(b, NO_CLIENT)
       fi;
       b = 0;
       forget_found()
     }
  od
}

#ifdef MUTANT_NO_FENCING_TOKEN
#define HOLDS_LEASE true
#else
#define HOLDS_LEASE (lease == me)
#endif

#ifdef MUTANT_OWN_EVENTS_IGNORED
#define TARGET_IS_SETTLED true
#else
#define TARGET_IS_SETTLED (touched == 0)
#endif

#ifdef MUTANT_COPY_EVENTS_IGNORED
#define COPY_IS_SETTLED true
#else
#define COPY_IS_SETTLED (touched_bookings == 0)
#endif

/* Ask the server whether the lease is still held. The answer may be old when the write arrives. */
inline confirm() {
  if
  :: HOLDS_LEASE
  :: else -> goto stopped
  fi
}

/*
 * Reads are at least as new as the stream's position, and as the moment when the lease was taken: an older read could undo
 * what the process before has derived, whose entries of the dirty set it may still remove.
 */
inline choose_time() {
#ifdef MUTANT_READ_BEFORE_TAKEOVER
  time = position;
#else
  time = (position > taken -> position : taken);
#endif
  do
  :: time < now -> time++
  :: break
  od;
  skip
}

/* Read a client's document and bookings, confirm, write; again if the document has changed since. */
inline derive(c) {
  do
  :: atomic {
       choose_time();
       d_step {
         was_0 = SESSION(c, 0);
         was_1 = SESSION(c, 1);
         look_up(0, time);
         new_0 = (found_client == c -> found_version : 0);
         look_up(1, time);
         new_1 = (found_client == c -> found_version : 0);
         forget_found();
         time = 0
       }
     };
     if
     :: new_0 == was_0 && new_1 == was_1 -> break
     :: else
     fi;
     confirm();
     if
     :: d_step {
          SESSION(c, 0) != was_0 || SESSION(c, 1) != was_1 ->
          was_0 = 0; was_1 = 0; new_0 = 0; new_1 = 0
        }
     :: atomic {
          SESSION(c, 0) == was_0 && SESSION(c, 1) == was_1 ->
          SESSION(c, 0) = new_0;
          SESSION(c, 1) = new_1;
          if
          :: lease != me -> touched = touched | (1 << c)
          :: else
          fi;
          break
        }
     fi
  od;
  skip;
  d_step { was_0 = 0; was_1 = 0; new_0 = 0; new_1 = 0 }
}

inline follow_copy(b) {
  atomic {
    choose_time();
    d_step { look_up(b, time); new_0 = found_version; forget_found(); time = 0 }
  };
  confirm();
  d_step {
    if
    :: lease != me && kept[b] != new_0 -> touched_bookings = touched_bookings | (1 << b)
    :: else
    fi;
    kept[b] = new_0;
    new_0 = 0
  }
}

proctype Follower(byte me) {
  byte position, taken, time, b, todo, handled;
  byte was_0, was_1, new_0, new_1;
  /* The second process takes the lock over, at any time. */
  atomic { lease == me || me == 2 -> lease = me; position = token; taken = now };
end:
  do
  /* Read an event; an entry of the dirty set remembers the newest one. */
  :: position < now ->
       confirm();
       d_step {
         position++;
         if
         :: dirty[event_booking[position]] < position -> dirty[event_booking[position]] = position
         :: else
         fi
       }
  /* The token is in the same document as the lease. */
  :: d_step {
       token != position && HOLDS_LEASE -> token = position
     }
  :: atomic {
       dirty[0] != 0 || dirty[1] != 0 ->
       if :: dirty[0] != 0 -> b = 0 :: dirty[1] != 0 -> b = 1 fi;
       handled = dirty[b];
       todo = 1 << event_client[handled];
       if :: SESSION(CLIENT_1, b) != 0 -> todo = todo | 2 :: else fi;
       if :: SESSION(CLIENT_2, b) != 0 -> todo = todo | 4 :: else fi
     };
     if :: todo & 2 -> derive(CLIENT_1) :: else fi;
     if :: todo & 4 -> derive(CLIENT_2) :: else fi;
     follow_copy(b);
     confirm();
     d_step {
       if
#ifndef MUTANT_UNCONDITIONAL_REMOVE
       :: dirty[b] == handled -> dirty[b] = 0
#else
       :: true -> dirty[b] = 0
#endif
       :: else
       fi;
       b = 0; todo = 0; handled = 0
     }
  /* What a process without the lease has written is derived again. */
  :: atomic { lease == me && touched & 2 -> touched = touched & ~2 }; derive(CLIENT_1)
  :: atomic { lease == me && touched & 4 -> touched = touched & ~4 }; derive(CLIENT_2)
  :: atomic { lease == me && touched_bookings & 1 -> touched_bookings = touched_bookings & ~1 }; follow_copy(0)
  :: atomic { lease == me && touched_bookings & 2 -> touched_bookings = touched_bookings & ~2 }; follow_copy(1)
  :: d_step {
       lease == me && position == now && token == now && dirty[0] == 0 && dirty[1] == 0 && TARGET_IS_SETTLED && COPY_IS_SETTLED ->
       look_up(0, now);
       assert(kept[0] == found_version);
       assert(SESSION(CLIENT_1, 0) == (found_client == CLIENT_1 -> found_version : 0));
       assert(SESSION(CLIENT_2, 0) == (found_client == CLIENT_2 -> found_version : 0));
       look_up(1, now);
       assert(kept[1] == found_version);
       assert(SESSION(CLIENT_1, 1) == (found_client == CLIENT_1 -> found_version : 0));
       assert(SESSION(CLIENT_2, 1) == (found_client == CLIENT_2 -> found_version : 0));
       forget_found()
     }
  :: lease != me && me == 1 -> break
  od;
stopped:
  skip
}

init {
  atomic {
    SESSION(CLIENT_1, 0) = 1;
    kept[0] = 1;
    run Application();
    run Follower(1);
    run Follower(2)
  }
}
