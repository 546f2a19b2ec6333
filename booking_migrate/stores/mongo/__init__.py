"""Collections as places. This package is the only importer of the driver, and is imported when the first collection is opened.

Documents cross it as raw BSON in both directions. Reads see only what a majority of the replica set has, writes return
when a majority has them, and every comparison and sort is under the simple collation, whatever the collection's own is.

Whatever asks a server may raise `ConnectionProblem` and `NotPermitted`; beside these, what reads a collection `UnusablePlace`, and
what writes to it `WriteFailed` (`failures`). Docstrings name what else is raised, and say where the driver's own errors pass.
"""
