r"""Migrate one-document-per-booking MongoDB data to one document per client.

The data flow in one picture; each word is a package or module of this folder::

    stores                  domain                                        stores
    place --scan by client--> booking --convert--> session | rejection
    (file: sorted by spool)               \--consolidate--> client document --write--> place

    domain/usual_client the same from end to end for the clients that nearly all are, by cutting and joining bytes
    engine/stream       drives that picture, batch by batch, and knows ports only
    engine/crew         other processes that read and convert, piece by piece; stream writes what comes of it
    engine/server       the same picture within MongoDB, for ranges of plain clients; stream does the rest
    engine/choice       whose turn it is: both are tried, and the faster one goes on
    engine/in_place     the same picture within one collection, a few clients a transaction, while it is in use
    engine/plan         what is to be done, as a value: dry-run prints it, migrate executes it
    engine/dry_run      the same picture over a target that takes no writes, with observers who count and warn
    engine/lifecycle    the same picture under a journal and a lock: resume and status
    engine/cutover      the target takes the source's name, once it is proven
    engine/rollback     the way back: undo before a cut-over, restoration after it
    engine/verify       both ends of the picture side by side, compared by code of its own
    memory              how processes that handle very many documents keep it
    events              what engines tell a listener: progress, warnings, steps reached
    reports             one report model; terminal text, JSON, Markdown, HTML, JUnit from it
    service             the booking service over the new structure, and its HTTP API (an extra)
    cli                 parse, wire, call one engine function, render, exit; one file a command

Imports run one way: ``cli -> service -> reports -> engine -> stores -> domain -> errors, events,
memory``.
"""

__version__ = "0.1.0"
