r"""Migrate one-document-per-booking MongoDB data to one document per client.

The data flow in one picture; each word is a package or module of this folder::

    stores                  domain                                        stores
    place --scan by client--> booking --convert--> session | rejection
    (file: sorted by spool)               \--consolidate--> client document --write--> place

    engine/stream     drives that picture, batch by batch, and knows ports only
    engine/server     has MongoDB do whole ranges of plain clients, and leaves the rest to engine/stream
    engine/plan       what is to be done, as a value: dry-run prints it, migrate executes it
    engine/dry_run    the same picture over a target that takes no writes, with observers who count and warn
    engine/lifecycle  the same picture under a journal and a lock: resume, status, rollback
    engine/verify     both ends of the picture side by side, compared by code of its own
    events            what engines tell a listener: progress, warnings, steps reached
    reports           one report model; terminal text, JSON, Markdown, HTML, JUnit from it
    cli               parse, wire, call one engine function, render, exit; one file a command

Imports run one way: ``cli -> reports -> engine -> stores -> domain -> errors, events``.
"""

__version__ = "0.1.0"
