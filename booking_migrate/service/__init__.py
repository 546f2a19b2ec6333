"""The booking service over the new structure, and its HTTP API (the extra ``service``).

The path of a request; each word is a module::

    http          gate (access log, limits, authentication) --> application (routes) --> answers (JSON)
    repository    reads one client's or one expert's documents in a snapshot; writes are transactions
    rules         appointment (overlaps, permissions, a new session) · view (old bookings as sessions, lists)

The rules do no input or output. `view` shows old bookings as sessions: it runs the migration's own code over one
client's documents, so the service shows the same before, during and after a migration.
"""
