/*
 * The reverse window and the rollback out of it: what a rollback restores is kept ready after a cut-over, and is live again
 * by fence, drain, derive as of the fence, swap and tail; or the attempt is abandoned.
 *
 * Client documents are live. The new application books, updates and moves sessions, and deletes documents; behind the fence
 * deletes pass, and so does one writer that bypasses validation. Another program writes once to what is kept ready. The old
 * application starts as soon as the old bookings are live again. An election undoes what a majority does not have. The
 * process is killed once, at any step, and the command is run again.
 */

#ifndef WRITES
#define WRITES 3
#endif
#define LAST (WRITES + 1)

#define BIT(i) (1 << (i))
#define HAS(set, i) (((set) >> (i)) & 1)

/*
 * Session 0 is an old booking: the kept copy has it in version 1, of client 1. Session 1 is booked since the cut-over, if at
 * all. The whole history stands here, since a state can be read as of any time, and since it is the ledger: which document
 * a session is in (that of client 1 or 2, 0: in none), and the number of the write that it has its content from.
 */
#define SESSIONS 2
byte owner[(LAST + 1) * SESSIONS];
byte content[(LAST + 1) * SESSIONS];
#define OWNER(s, t) owner[(t) * SESSIONS + (s)]
#define CONTENT(s, t) content[(t) * SESSIONS + (s)]
byte now = 1;

/* The change stream: which documents each write is about, as a bit set of clients, and what the event carries. */
mtype = { WHOLE, PARTIAL, GONE, OTHERS };
byte documents[LAST + 1];
mtype carries[LAST + 1];

/* What is kept ready, and is the live collection after the swap: each booking's client, and its version; 0: absent. */
#define KEPT_CLIENT 1
#define KEPT_VERSION 1
#define FOREIGN 14
#define OLD 15
byte client[SESSIONS];
byte version[SESSIONS];
bool swapped;
byte swap_time; /* T_r */

mtype = { DOWN, WRITTEN, COMMITTED };
mtype fence = DOWN;

/* A command waits in the server: it is executed later, or not at all, also if its process was killed meanwhile. */
mtype = { NOTHING, COPY, COLLMOD, RENAME };
mtype pending = NOTHING;
byte executed; /* the reply: operationTime + 1, or 0 if the time limit was passed */

/* Durable state of the run. */
bool built;
byte token;
byte parts;      /* bit set of clients: a booking of client 1 was in that client's document */
byte fence_time; /* T_f */
byte attempts;

/* What the others did. */
bool bypass;
byte existing = BIT(1); /* bit set of the clients that have a document */
byte named;      /* bit set of sessions: in a document that was updated past the fence, the version before is live */
byte touched;    /* bit set of bookings that were written since the swap, by the old application or by this program */
byte old_writes; /* those of the old application */

bool killed, done;

/* Append a write to the history, with every session as it was before. Use within a d_step. */
inline begin_write(about, kind) {
  now++;
  OWNER(0, now) = OWNER(0, now - 1);
  OWNER(1, now) = OWNER(1, now - 1);
  CONTENT(0, now) = CONTENT(0, now - 1);
  CONTENT(1, now) = CONTENT(1, now - 1);
  documents[now] = about;
  carries[now] = kind
}

#define EXISTS(s) (OWNER(s, now) != 0)

/* Write a session in the document of a client, into which it may move. */
inline write_session(s, c, kind) {
  d_step {
    begin_write(((BIT(OWNER(s, now)) | BIT(c)) & ~1), kind);
    OWNER(s, now) = c;
    CONTENT(s, now) = now;
    existing = existing | BIT(c)
  }
}

inline delete_document(c) {
  d_step {
    begin_write(BIT(c), GONE);
    existing = existing & ~BIT(c);
    if :: OWNER(0, now) == c -> OWNER(0, now) = 0; CONTENT(0, now) = 0 :: else fi;
    if :: OWNER(1, now) == c -> OWNER(1, now) = 0; CONTENT(1, now) = 0 :: else fi
  }
}

proctype NewApplication() {
end:
  do
  :: atomic {
       now < LAST && !swapped ->
       if
       :: fence == DOWN && EXISTS(0) -> write_session(0, 1, WHOLE)
       :: fence == DOWN && EXISTS(0) -> write_session(0, 2, WHOLE)
       :: fence == DOWN -> write_session(1, 1, WHOLE)
       :: fence == DOWN -> write_session(1, 2, WHOLE)
       :: HAS(existing, 1) -> delete_document(1)
       :: HAS(existing, 2) -> delete_document(2)
       :: else
       :: fence != DOWN && !bypass && EXISTS(0) ->
            bypass = true;
            if
            :: write_session(0, OWNER(0, now), WHOLE)
            :: write_session(0, OWNER(0, now), PARTIAL)
            fi
       :: fence != DOWN && !bypass && !EXISTS(1) -> bypass = true; write_session(1, 2, WHOLE)
       fi
     }
  od
}

/* The old application updates a booking, once. */
proctype OldApplication() {
end:
  if
  :: d_step { swapped && version[0] != 0 -> version[0] = OLD; touched = touched | BIT(0); old_writes = BIT(0) }
  :: d_step { swapped && version[1] != 0 -> version[1] = OLD; touched = touched | BIT(1); old_writes = BIT(1) }
  fi
}

/* Another program writes to what is kept ready, before the fence. */
proctype OtherProgram() {
end:
  d_step {
    built && now < LAST && fence == DOWN && !swapped ->
    begin_write(0, OTHERS);
    client[0] = 2;
    version[0] = FOREIGN
  }
}

proctype Election() {
end:
  d_step { fence == WRITTEN -> fence = DOWN }
}

proctype Server() {
end:
  do
  :: d_step {
       pending == COPY ->
       pending = NOTHING;
       executed = 1;
       client[0] = KEPT_CLIENT;
       version[0] = KEPT_VERSION;
       client[1] = 0;
       version[1] = 0
     }
  :: d_step { pending == COLLMOD -> pending = NOTHING; assert(!done); fence = WRITTEN; executed = now + 1 }
  :: d_step { pending == RENAME -> pending = NOTHING; assert(!done); swapped = true; swap_time = now }
  :: d_step { pending != NOTHING -> pending = NOTHING; executed = 0 }
  :: d_step { fence == WRITTEN -> fence = COMMITTED }
  od
}

proctype Kill() {
  killed = true
}

/* A booking is what a rollback restores of the client documents as of a time. */
#define IS_RESTORED(s, t) \
  (client[s] == (OWNER(s, t) != 0 -> OWNER(s, t) : (s == 0 -> KEPT_CLIENT : 0)) && \
   version[s] == (OWNER(s, t) != 0 -> CONTENT(s, t) : (s == 0 -> KEPT_VERSION : 0)))

/* Read one event: which clients it makes dirty, and whether others wrote to what is kept ready. */
inline take() {
  dirty = dirty | documents[position];
#ifndef MUTANT_FOREIGN_LEFT
  if :: carries[position] == OTHERS -> is_foreign = true :: else fi
#endif
}

/*
 * The clients that are derived together: the dirty ones, those whose bookings were ever in a document of these, and those
 * where a booking stands now or on the other side.
 */
inline close_group(t) {
  d_step {
    group = dirty;
    if :: HAS(dirty, 2) && HAS(parts, 2) -> group = group | BIT(1) :: else fi;
    if
    :: is_foreign -> group = (group | BIT(KEPT_CLIENT) | BIT(OWNER(0, t)) | BIT(client[0])) & ~1
    :: else
    fi;
#ifndef MUTANT_GROUP_NOT_CLOSED
    if
    :: OWNER(0, t) == 2 && (group & (BIT(1) | BIT(2))) != 0 -> group = group | BIT(1) | BIT(2)
    :: else
    fi;
#endif
    /* Noted first: it is to be known if the document is deleted before this is complete. */
#ifndef MUTANT_PARTS_NOT_NOTED
    if :: HAS(group, 2) && OWNER(0, t) == 2 -> parts = parts | BIT(2) :: else fi
#endif
  }
}

/* Make a booking of the group what a rollback restores of it. */
inline derive(s, t) {
  d_step {
    if
    :: OWNER(s, t) != 0 && HAS(group, OWNER(s, t)) -> client[s] = OWNER(s, t); version[s] = CONTENT(s, t)
    :: else ->
         if
         :: s == 0 && HAS(group, KEPT_CLIENT) -> client[s] = KEPT_CLIENT; version[s] = KEPT_VERSION
         :: else ->
              if
              :: client[s] != 0 && HAS(group, client[s]) -> client[s] = 0; version[s] = 0
              :: else
              fi
         fi
    fi
  }
}

inline handle(t) {
  if
  :: dirty != 0 || is_foreign ->
       close_group(t);
       derive(0, t);
       derive(1, t);
       group = 0
  :: else
  fi
}

#ifdef MUTANT_READ_BEFORE_EVENTS
#define READ_AT (token == 0 -> 1 : token)
#else
#define READ_AT now
#endif

/* Read all events, handle them, and only then save the position behind them. */
inline round() {
  do
  :: atomic { position < now -> position++; take() }
  :: break
  od;
#ifdef MUTANT_POSITION_BEFORE_CHANGES
  token = position;
#endif
  read_at = READ_AT;
  handle(read_at);
  d_step {
    assert(position != read_at || position != now || (IS_RESTORED(0, now) && IS_RESTORED(1, now)));
    read_at = 0;
    dirty = 0;
    is_foreign = false;
    token = position
  }
}

/* The last event of a document past the fence; 0: none. */
inline last_of(c, found) {
  found = swap_time;
  do
  :: found > from && !HAS(documents[found], c) -> found--
  :: else -> break
  od;
  found = (found <= from -> 0 : found)
}

#define CARRIES_SESSION(c, t, s) (t != 0 && carries[t] == WHOLE && OWNER(s, t) == c)
#define IS_LATE(t) (t != 0 && carries[t] != PARTIAL)

#ifdef MUTANT_TAIL_FORGETS_OTHERS
#define IS_CONCERNED(s) (IS_LATE(late_1) || IS_LATE(late_2))
#else
#define IS_CONCERNED(s) ((IS_LATE(late_1) && client[s] == 1) || (IS_LATE(late_2) && client[s] == 2))
#endif

#ifdef MUTANT_TAIL_OVERWRITES
#define MAY_WRITE(s) true
#define UNCHANGED(s) true
#else
#define MAY_WRITE(s) (!HAS(touched, s))
#define UNCHANGED(s) (version[s] == seen)
#endif

/*
 * Make a booking what it would be with the late changes, unless it was written since the swap. The documents that the
 * changes were about are gone: what they do not carry comes back as it was at the cut-over, or goes.
 */
inline take_back(s) {
  d_step {
    if
    :: CARRIES_SESSION(1, late_1, s) -> new_client = 1; new_version = CONTENT(s, late_1)
    :: CARRIES_SESSION(2, late_2, s) -> new_client = 2; new_version = CONTENT(s, late_2)
    :: else ->
         if
         :: IS_CONCERNED(s) ->
              new_client = (s == 0 -> KEPT_CLIENT : 0);
              new_version = (s == 0 -> KEPT_VERSION : 0)
         :: else -> new_client = client[s]; new_version = version[s]
         fi
    fi
  };
  do
  :: atomic { (client[s] == new_client && version[s] == new_version) || !MAY_WRITE(s) -> break }
  :: atomic { (client[s] != new_client || version[s] != new_version) && MAY_WRITE(s) -> seen = version[s] };
       if
       :: d_step { !UNCHANGED(s) -> seen = 0 }
#ifdef MUTANT_TAIL_IN_TWO_STEPS
       :: d_step { UNCHANGED(s) -> client[s] = 0; version[s] = 0; touched = touched | BIT(s); seen = 0 };
            d_step { client[s] = new_client; version[s] = new_version }
#else
       :: d_step {
            UNCHANGED(s) ->
            client[s] = new_client;
            version[s] = new_version;
            touched = touched | BIT(s);
            seen = 0
          }
#endif
       fi
  od;
  atomic { seen = 0; new_client = 0; new_version = 0 }
}

inline check(s) {
  if
  :: HAS(old_writes, s) -> assert(version[s] == OLD)
  :: else ->
       if
       :: HAS(named, s)
       :: else -> assert(IS_RESTORED(s, swap_time))
       fi
  fi
}

proctype Process() {
  byte position, dirty, group, read_at, fenced, from, late_1, late_2, seen, new_client, new_version;
  bool is_foreign;
start:
  {
    /* What an earlier process has sent must have ended before anything is concluded from the state of the collections. */
#ifndef MUTANT_DDL_OUTLIVES_PROCESS
    pending == NOTHING;
#endif
    if
    :: swapped -> goto tail
    :: else
    fi;
#ifndef MUTANT_FENCE_LEFT
    fence = DOWN;
#endif

    /* The window opens: the feed is as old as the cut-over; a copy that was not completed is made again. */
    do
    :: built -> break
    :: else ->
         executed = 0;
         pending = COPY;
         pending == NOTHING;
         if
         :: executed == 0
         :: else ->
              executed = 0;
#ifdef MUTANT_FEED_AFTER_COPY
              token = now;
#else
              token = 1;
#endif
              built = true
         fi
    od;
    position = token;

attempt:
    if
    :: swapped -> goto tail
    :: else
    fi;
#ifndef MUTANT_FENCE_LEFT
    fence = DOWN;
#endif
    if
    :: attempts == 2 -> goto ended
    :: else -> attempts++
    fi;
    /* The window, up to the rollback. */
    round();

    /* Fence. It counts once a majority has it. */
    executed = 0;
    pending = COLLMOD;
    pending == NOTHING;
    if
    :: executed == 0 -> goto abandon
    :: else -> atomic { fenced = executed - 1; executed = 0 }
    fi;
    fence_time = fenced;

    /* Drain: on to the fence at least. The position is not saved. */
    do
    :: atomic { position < now -> position++; take() }
#ifdef MUTANT_POSITION_SAVED_IN_DRAIN
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
    handle(fenced);
    if :: goto abandon :: skip fi;
#ifndef MUTANT_FENCE_NOT_REREAD
    if
    :: fence == COMMITTED
    :: fence == DOWN -> goto abandon
    fi;
#endif

    pending = RENAME;
    pending == NOTHING;
    if
    :: swapped -> goto tail
    :: else -> goto abandon
    fi;

abandon:
    /*
     * The client documents are live as before. What was drained is to be handled again: the feed is behind it, and some of it
     * may have passed the fence, whose time it was derived as of.
     */
    atomic {
#ifdef MUTANT_DRAINED_FORGOTTEN
      dirty = 0;
      is_foreign = false;
#endif
      fenced = 0
    };
    goto attempt;

tail:
    skip;
    d_step {
#ifdef MUTANT_NO_TAIL
      from = swap_time;
#else
      from = fence_time;
#endif
      dirty = 0;
      is_foreign = false;
      position = 0;
      fenced = 0;
      last_of(1, late_1);
      last_of(2, late_2);
      /* An update carries changed fields only: it is named. */
      if :: late_1 != 0 && carries[late_1] == PARTIAL && OWNER(0, late_1) == 1 -> named = named | BIT(0) :: else fi;
      if :: late_2 != 0 && carries[late_2] == PARTIAL && OWNER(0, late_2) == 2 -> named = named | BIT(0) :: else fi
    };
    take_back(0);
    take_back(1);

ended:
    skip;
    d_step {
      done = true;
      if
      :: swapped -> check(0); check(1)
      :: else -> assert(fence == DOWN)
      fi
    }
  } unless {
    atomic {
      killed && !done;
      killed = false;
      position = 0; dirty = 0; is_foreign = false; group = 0; read_at = 0; fenced = 0;
      from = 0; late_1 = 0; late_2 = 0; seen = 0; new_client = 0; new_version = 0
    };
    goto start
  }
}

init {
  atomic {
    OWNER(0, 1) = KEPT_CLIENT;
    CONTENT(0, 1) = KEPT_VERSION;
    run NewApplication();
    run OldApplication();
    run OtherProgram();
    run Election();
    run Server();
    run Kill();
    run Process()
  }
}
