"""The reports of `status` and `rollback`: runs, where they stand, and what was undone."""
