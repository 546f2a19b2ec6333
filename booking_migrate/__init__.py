r"""Migrate one-document-per-booking MongoDB data to one document per client.

The data flow in one picture, by packages of this folder and what they do::

      source                          migrate                                   target
    +---------+  chunks of   +-----------------------+  changes  +---------+  +---------+
    | stores  |--whole ----->| fastpath  (flat)      |---------->|  runs   |->| stores  |
    | files/  |  clients     | domain    (reference) |  of each  | journal |  | files/  |
    | mongo/  |              | merge with the target |  batch    | lock    |  | mongo/  |
    +---------+              +-----------------------+           +---------+  +---------+
         \____________________________ verify ____________________________________/

    migrate     side by side, from any place to any place; dry_run is the same pipeline into a target that writes nothing
    in_place    within one collection, while the application runs
    verify      reads both sides and compares them by code of its own
    follow      brings in what the application writes, until the cut-over
    cutover     makes the target the live collection
    rollback    undoes a run at any point of its life
    reports     the outcome of a command, for people and for programs
    service     the booking service over the new structure, and its HTTP API (an extra)
    cli         parse, open, call one function, render, exit; a module for one command or two

``README.md`` beside this file has the layers, the glossary and a table "to change X, open Y". Imports run one way::

    cli -> service -> reports -> audit, init, preflight -> rollback -> cutover -> follow -> in_place, dry_run
        -> migrate, verify -> references -> runs -> stores -> fastpath -> domain -> bson -> errors, events, quantities
"""

__version__ = "0.1.0"
