r"""Prove that a migration's result is right, by code that has no conversion in common with the migration (see README.md).

::

    source --scan by client--\          flat clients: fastpath                           mismatches
                              join --<                                    --> reconcile --> counts
    target --scan by client--/          all others: client_check                         outcome
                                          expected, sessions, client_fields, rules

`run.verify` is this picture as code, and `explain` does it for a single booking. What must be in the target is derived again;
an import-linter contract keeps the modules out with which the migration converts and consolidates. Comparing is by bytes.
"""

from booking_migrate.verify.mismatch import Kind, Mismatch, Rule
from booking_migrate.verify.outcome import VerificationOutcome, VerificationPlan, VerificationRules

__all__ = [
    "Kind",
    "Mismatch",
    "Rule",
    "VerificationOutcome",
    "VerificationPlan",
    "VerificationRules",
]
