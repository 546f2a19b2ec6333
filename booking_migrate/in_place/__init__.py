"""A migration within one collection, beside a running application (DESIGN.md, section 4, `migrate --in-place`).

``group`` says what becomes of some clients, ``batches`` how many of them go at once, ``run`` leads through the collection.
"""
