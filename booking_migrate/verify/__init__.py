r"""The proof that a migration did what DESIGN.md says, by code that has nothing in common with the migration's.

::

    source --scan by client--\
                              pairs --batch--> client_check --> mismatches, open bookings
    target --scan by client--/                      |                         |
                              sessions, client_document,             settlement: the rejected
                              judgement, rules, derivation           records say which are right

`run.verify` drives that picture and `explain` draws it for a single booking. Nothing here imports the modules with
which the migration converts and consolidates (an import-linter contract sees to it): what must be in the target is
worked out anew from the design. Comparing is by bytes throughout.
"""

from booking_migrate.verify.mismatch import Kind, Mismatch, Rule
from booking_migrate.verify.outcome import VerificationOutcome
from booking_migrate.verify.plan import PeopleFields, VerificationPlan, VerificationRules
from booking_migrate.verify.run import verify

__all__ = [
    "Kind",
    "Mismatch",
    "PeopleFields",
    "Rule",
    "VerificationOutcome",
    "VerificationPlan",
    "VerificationRules",
    "verify",
]
