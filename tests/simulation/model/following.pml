/*
 * Copying and following: the target and the kept copy are what the source is, whenever the follower has caught up.
 *
 * The application inserts, updates, moves and deletes without pause. The follower opens the change stream, copies both
 * collections, then reads events into the durable dirty set, saves the resume token, and derives what is dirty. It is
 * killed once, at any step, and continues from what is durable.
 */

#ifndef WRITES
#define WRITES 3
#endif
#include "source.pml"

#define IS_DIRTY(b) ((dirty >> (b)) & 1)

/* Durable: in the database. */
byte target[6]; /* [client * BOOKINGS + booking]: the version of the session in that client's document, 0: absent */
byte kept[BOOKINGS];
byte token;     /* saved: the resume token, 0: the stream was never opened */
byte dirty;     /* bit set of bookings */
byte involved;  /* bit set of the clients named by the events of dirty bookings */
bool copied;

/* An aggregation with $out runs in the server, and may outlive the process that sent it: it publishes what it has read. */
bool copying;
byte copy[BOOKINGS];

bool killed;

#define SESSION(c, b) target[(c) * BOOKINGS + (b)]

active proctype Application() {
  byte b;
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

/* A process is killed with SIGKILL: what it has in memory is gone, what it has written is not. */
active proctype Kill() {
  killed = true
}

active proctype Server() {
  do
  :: d_step { copying -> kept[0] = copy[0]; kept[1] = copy[1]; copy[0] = 0; copy[1] = 0; copying = false }
  od
}

/*
 * A majority read may lag behind the primary: with afterClusterTime, it is at least as new as the time asked for.
 * Each document has a time of its own, because neither a scan nor two queries see one snapshot.
 */
inline read_booking(b, not_before) {
  time = not_before;
#ifdef MUTANT_NO_AFTER_CLUSTER_TIME
  time = 1;
#endif
  do
  :: time < now -> time++
  :: break
  od;
  skip;
  d_step { look_up(b, time); time = 0 }
}

inline derive(c, not_before) {
  atomic {
    read_booking(0, not_before);
    SESSION(c, 0) = (found_client == c -> found_version : 0);
    read_booking(1, not_before);
    SESSION(c, 1) = (found_client == c -> found_version : 0);
    forget_found()
  }
}

/* Make the kept copy. One that an earlier process has started must have ended: it would replace the copy later. */
inline copy_source(not_before) {
  if
  :: !copying ->
       atomic {
         read_booking(0, not_before); copy[0] = found_version;
         read_booking(1, not_before); copy[1] = found_version;
         forget_found();
         copying = true
       };
       !copying
#ifdef MUTANT_COPY_OUTLIVES_PROCESS
  :: copying ->
       atomic {
         read_booking(0, not_before); kept[0] = found_version;
         read_booking(1, not_before); kept[1] = found_version;
         forget_found()
       }
#endif
  fi
}

/* Put an event into the dirty set: the booking, and the client that the event names. */
inline mark(t) { dirty = dirty | (1 << event_booking[t]); involved = involved | (1 << event_client[t]) }

/* The clients of a booking: every document that holds it, the event's client, and the current one. */
inline clients_of(b) {
  todo = involved;
#ifndef MUTANT_NO_MAP
  if
  :: SESSION(CLIENT_1, b) != 0 -> todo = todo | (1 << CLIENT_1)
  :: else
  fi;
  if
#ifdef MUTANT_FIRST_HIT_ONLY
  :: SESSION(CLIENT_1, b) == 0 && SESSION(CLIENT_2, b) != 0 -> todo = todo | (1 << CLIENT_2)
#else
  :: SESSION(CLIENT_2, b) != 0 -> todo = todo | (1 << CLIENT_2)
#endif
  :: else
  fi;
#endif
  todo = todo & 6 /* not NO_CLIENT */
}

active proctype Follower() {
  byte position; /* in the stream: the last event read */
  byte b, todo, time, opened;
start:
  {
    /* The stream is opened before the first read; a process that continues opens it at the saved token. */
    if
    :: token == 0 ->
         atomic { opened = now; position = now }
#ifndef MUTANT_STREAM_AFTER_COPY
         ;
         token = position
#endif
    :: else -> opened = token; position = token
    fi;

    /* Copy. A copy that was interrupted is made again. */
    if
    :: !copied ->
         derive(CLIENT_1, opened);
         derive(CLIENT_2, opened);
         copy_source(opened);
#ifdef MUTANT_STREAM_AFTER_COPY
         atomic { position = now; token = position };
#endif
         copied = true
    :: else
    fi;
    opened = 0;

    do
    /* Read one event of a batch. It is durable in the dirty set before the token that covers it. */
    :: atomic { position < now -> position++ };
#ifdef MUTANT_TOKEN_BEFORE_DIRTY
       token = position;
#endif
       mark(position)
    /* The end of a batch, wherever that is. */
    :: atomic {
         token < position -> token = position
#ifdef MUTANT_CHECKPOINT_BY_CLOCK
         ;
         if :: token = now :: true fi
#endif
       }
    /* Derive what is dirty. An entry is removed when all that it concerns is written. */
    :: atomic {
         dirty != 0 ->
         if :: IS_DIRTY(0) -> b = 0 :: IS_DIRTY(1) -> b = 1 fi;
         clients_of(b)
#ifdef MUTANT_DIRTY_REMOVED_FIRST
         ;
         dirty = dirty & ~(1 << b)
#endif
       };
       if :: todo & 2 -> derive(CLIENT_1, position) :: else fi;
       if :: todo & 4 -> derive(CLIENT_2, position) :: else fi;
       atomic { read_booking(b, position); kept[b] = found_version; forget_found() };
       atomic {
         dirty = dirty & ~(1 << b);
         if :: dirty == 0 -> involved = 0 :: else fi;
         b = 0;
         todo = 0
       }
    /* Caught up: the promise is kept. */
    :: d_step {
         position == now && dirty == 0 ->
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
    od
  } unless {
    atomic { killed; killed = false; position = 0; b = 0; todo = 0; time = 0; opened = 0; forget_found() }
  };
  goto start
}
