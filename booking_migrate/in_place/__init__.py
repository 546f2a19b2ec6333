"""A migration within one collection, beside a running application.

``group`` plans the unit of work for some clients, ``passes`` how many of them go at once, ``run`` leads through the collection.
"""
