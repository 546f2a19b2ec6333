"""What a migration means: pure functions and values over BSON, with no input or output.

Read in this order: `contract` (what the new application allows; the types: `kinds`), `rules` (what decides a result), `ids` (all new
ids), `session` (one old document, to its session or rejection), `client_document` (the new document), `consolidate` (many sessions to one
document). `reversal` and `carried_changes` lead back from a client document to its bookings.
"""
