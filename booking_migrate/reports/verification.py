"""Build the reports of verify and explain from what was found."""

from collections.abc import Sequence
from typing import Any

from bson.datetime_ms import DatetimeMS

from booking_migrate.bson.document import Element, read_value
from booking_migrate.bson.format import describe, display_id
from booking_migrate.errors import ExitCode
from booking_migrate.reports.model import (
    ExplainedField,
    ExplanationReport,
    MismatchReport,
    NextStep,
    Report,
    RuleReport,
    VerificationReport,
    counts_report,
    finding_reports,
    rejection_reports,
)
from booking_migrate.verify.explain import Disposition, Explanation
from booking_migrate.verify.outcome import Mismatch, VerificationOutcome

_FIRST_DATE, _LAST_DATE = -62_135_596_800_000, 253_402_300_799_999
"""The years 1 to 9999, which people can read, in milliseconds since 1970."""


def report_of_verification(
    outcome: VerificationOutcome,
    *,
    run_id: str,
    source: str,
    target: str,
    next_steps: Sequence[NextStep],
    mismatches_file: str | None = None,
) -> Report:
    """Build the report of a verification that has finished.

    Args:
        outcome: what was found.
        run_id: the run's name.
        source: the source place as the user wrote it.
        target: the target place as the user wrote it.
        next_steps: what to suggest to the user.
        mismatches_file: where every mismatch is listed, if anywhere.
    """
    rules = tuple(
        RuleReport(
            rule=result.rule.value,
            mismatch_count=result.count,
            examples=tuple(map(mismatch_report, result.examples)),
        )
        for result in outcome.results
    )
    return Report(
        command="verify",
        run_id=run_id,
        source=source,
        target=target,
        exit_code=ExitCode.MISMATCHES if outcome.mismatch_count else ExitCode.DONE,
        counts=counts_report(outcome.counts),
        rejections=rejection_reports(outcome.rejections),
        rejects=outcome.rejects_name,
        findings=finding_reports(outcome.findings),
        mismatch_count=outcome.mismatch_count,
        mismatches=tuple(example for rule in rules for example in rule.examples),
        verification=VerificationReport(
            rules=rules,
            clients_checked=outcome.clients_checked,
            clients_seen=outcome.clients_seen,
            sampled=outcome.sampled,
            later_sessions=outcome.later_sessions,
            changed_sessions=outcome.changed_sessions,
            mismatches_file=mismatches_file,
        ),
        seconds=round(outcome.seconds, 3),
        next_steps=tuple(next_steps),
    )


def mismatch_report(mismatch: Mismatch) -> MismatchReport:
    """Return a mismatch with its values as text."""
    return MismatchReport(
        kind=mismatch.kind.value,
        client_id=_id(mismatch.client_id),
        booking_id=_id(mismatch.booking_id),
        field=mismatch.field,
        expected=_value(mismatch.expected),
        found=_value(mismatch.found),
        detail=mismatch.detail,
    )


def report_of_explanation(explanation: Explanation, *, run_id: str, source: str, target: str) -> Report:
    """Build the report of an explanation.

    Args:
        explanation: what was found.
        run_id: the run's name.
        source: the source place as the user wrote it.
        target: the target place as the user wrote it.
    """
    record = explanation.record
    reasons = () if record is None else (record.reason, *sorted(record.reasons - {record.reason}))
    is_right = explanation.fate in (Disposition.MIGRATED, Disposition.REJECTED)
    return Report(
        command="explain",
        run_id=run_id,
        source=source,
        target=target,
        exit_code=ExitCode.DONE if is_right else ExitCode.MISMATCHES,
        explanation=ExplanationReport(
            fate=explanation.fate.value,
            booking_id=display_id(explanation.booking_id),
            client_id=_id(explanation.client_id),
            document_id=_id(explanation.document_id),
            session_number=explanation.session_number,
            session_count=explanation.session_count,
            fields=tuple(
                ExplainedField(name=field.name, old=_value(field.old), new=_value(field.new))
                for field in explanation.fields
            ),
            reasons=reasons,
            details=() if record is None else record.details,
            mismatches=tuple(map(mismatch_report, explanation.mismatches)),
        ),
    )


def _id(value: Any) -> str | None:
    return None if value is None else display_id(value)


def _value(element: Element | None) -> str | None:
    if element is None:
        return None
    value = read_value(element)
    if isinstance(value, DatetimeMS) and _FIRST_DATE <= int(value) <= _LAST_DATE:
        return f"date {value.as_datetime().isoformat(timespec='milliseconds')}"
    return describe(value)
