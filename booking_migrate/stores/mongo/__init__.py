"""Collections as places. This package is the only importer of the driver, and `locate` imports it only when needed.

Documents cross it as raw BSON in both directions. Reads see only what a majority of the replica set has, writes return
when a majority has them, and every comparison and sort is under the simple collation, whatever the collection's own is.
"""
