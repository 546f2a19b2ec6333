"""References: values in other collections that are the `_id` of an old booking.

`fields` says where they are, `values` how one value spells an id, and what it becomes; both are pure. `find` finds them.
"""
