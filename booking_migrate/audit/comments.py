"""Comments that suppress findings: ``booking-migrate: ignore``, with rules in brackets if not all are meant."""

import re
from collections.abc import Mapping

from booking_migrate.audit.findings import Finding

_MARK = "booking-migrate:"
_COMMENT = re.compile(r"(?://|/\*|#|\*).*?booking-migrate:\s*(ignore-file|ignore)(?:\s*\[([\w\s,-]*)\])?")

FILE = 0
"""The line that stands for all lines of a file."""


def suppressions(text: str) -> Mapping[int, frozenset[str]]:
    """Return the rules that comments suppress, by line; an empty set is all of them.

    A comment holds for its line; one that has a line of its own, for the next.
    """
    if _MARK not in text:
        return {}
    found: dict[int, frozenset[str]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        comment = _COMMENT.search(line) if _MARK in line else None
        if comment is None:
            continue
        rules = frozenset(filter(None, re.split(r"[\s,]+", comment[2] or "")))
        if comment[1] == "ignore-file":
            found[FILE] = rules
        else:
            is_alone = not line[: comment.start()].strip(" \t{")
            found[number + 1 if is_alone else number] = rules
    return found


def is_suppressed(finding: Finding, comments: Mapping[int, frozenset[str]]) -> bool:
    """Return whether a comment suppresses a finding."""
    for line in (FILE, finding.at[0]):
        rules = comments.get(line)
        if rules is not None and (not rules or finding.rule in rules):
            return True
    return False
