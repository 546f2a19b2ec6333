"""The booking service over the new structure, and its HTTP API (the extra ``service``).

What a request goes through; each word is a module::

    http          application --> access (who asks) --> routes --> presentation --> JSON
    repository    one client's or one expert's documents, as of one moment; writes that stand or fall as one
    rules         timetable (overlaps) · actions (who may do what) · appointment (a new session) · listing · view

The rules do no input or output. `view` is what makes old bookings look like sessions: it runs the migration's own code
over one client's documents, so what the service shows before, during and after a migration is the same.
"""
