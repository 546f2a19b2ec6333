/*
 * The source collection, with its whole history: what every model of this folder has in common.
 *
 * A write is an event, and its number is its cluster time. Event t says: from t on, booking event_booking[t] belongs to
 * client event_client[t]; NO_CLIENT is a delete. The number also stands for the content: two events never write the same
 * bytes, so a document is the number of the event that wrote it, and a stale document is visible as an older number.
 * The array is the source (its state at any time can be read, as a snapshot), the oplog, and the ledger of acknowledged
 * writes that the result is compared with.
 */

#define BOOKINGS 2
#define CLIENTS 2
#define NO_CLIENT 0
#define CLIENT_1 1
#define CLIENT_2 2

/* Each model sets WRITES: how many writes there are at most. */
#define LAST (WRITES + 1)

byte now = 1;
byte event_booking[LAST + 1];
byte event_client[LAST + 1] = CLIENT_1; /* Event 1 is older than the run: booking 0 of client 1. */

/* Booking b as of a time: its version (0: it does not exist) and its client. Use within a d_step. */
byte found_version, found_client, at;
inline look_up(b, time) {
  found_version = 0;
  found_client = NO_CLIENT;
  at = 1;
  do
  :: at <= time ->
       if
       :: event_booking[at] == b -> found_client = event_client[at]; found_version = (found_client == NO_CLIENT -> 0 : at)
       :: else
       fi;
       at++
  :: else -> break
  od;
  at = 0
}

/* No other state depends on what look_up found: the variables are cleared so that they do not multiply the states. */
inline forget_found() { found_version = 0; found_client = NO_CLIENT }

/* Append an event to the history. */
inline record(b, c) { now++; event_booking[now] = b; event_client[now] = c }
