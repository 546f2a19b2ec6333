"""What a migration means: pure functions and values over BSON, with no input or output.

Read in this order: `contract` (what the new application allows), `booking` (one old document), `conversion` (booking
to session or rejection), `client_document` (the new document), `consolidation` (many sessions to one document).
Underneath: `bson_document` (exact reading and writing of BSON), `ordering` (MongoDB's order and equality), `ids`,
`totals`, `comparison`.
"""
