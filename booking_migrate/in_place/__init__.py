"""A migration within one collection, beside a running application.

``group`` says what becomes of some clients, ``batches`` how many of them go at once, ``run`` leads through the collection.
"""
