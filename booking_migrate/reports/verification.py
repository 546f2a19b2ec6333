"""Build the reports of verify and explain from what was found, and the file with every mismatch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from bson.binary import Binary

from booking_migrate.bson.document import Element, element_of, wrap
from booking_migrate.bson.format import display_id, show_element
from booking_migrate.errors import ExitCode, WriteFailed
from booking_migrate.reports.model import (
    ExplainedField,
    ExplanationReport,
    MismatchReport,
    NextStep,
    Report,
    RuleReport,
    VerificationReport,
    part_of,
)
from booking_migrate.stores.files.atomic import check_usable, open_output
from booking_migrate.stores.files.extended_json import survives_extended_json, to_json
from booking_migrate.stores.places import is_gzip
from booking_migrate.verify.explain import Disposition, Explanation
from booking_migrate.verify.mismatch import Mismatch
from booking_migrate.verify.outcome import VerificationOutcome


def report_of_verification(
    outcome: VerificationOutcome,
    *,
    run_id: str,
    source: str,
    target: str,
    next_steps: Sequence[NextStep],
    mismatches_file: str | None = None,
) -> Report:
    """Build the report of a verification that has finished; ``mismatches_file`` is where every mismatch is listed."""
    rules = [
        RuleReport(
            rule=result.rule.value,
            mismatch_count=result.count,
            examples=tuple(map(mismatch_report, result.examples)),
        )
        for result in outcome.results
    ]
    return part_of(
        Report,
        outcome,
        command="verify",
        run_id=run_id,
        source=source,
        target=target,
        exit_code=ExitCode.MISMATCHES if outcome.mismatch_count else ExitCode.DONE,
        rejects=outcome.rejects_name,
        cluster_time=outcome.as_of,
        behind=outcome.behind,
        mismatches=[example for rule in rules for example in rule.examples],
        verification=part_of(VerificationReport, outcome, rules=rules, mismatches_file=mismatches_file),
        next_steps=next_steps,
    )


def mismatch_report(mismatch: Mismatch) -> MismatchReport:
    return part_of(
        MismatchReport,
        mismatch,
        client_id=_id(mismatch.client_id),
        booking_id=_id(mismatch.booking_id),
        expected=_value(mismatch.expected),
        found=_value(mismatch.found),
    )


def report_of_explanation(explanation: Explanation, *, run_id: str, source: str, target: str) -> Report:
    record = explanation.record
    reasons = () if record is None else (record.reason, *sorted(record.reasons - {record.reason}))
    is_right = explanation.fate in (Disposition.MIGRATED, Disposition.REJECTED)
    return Report(
        command="explain",
        run_id=run_id,
        source=source,
        target=target,
        exit_code=ExitCode.DONE if is_right else ExitCode.MISMATCHES,
        explanation=part_of(
            ExplanationReport,
            explanation,
            booking_id=display_id(explanation.booking_id),
            client_id=_id(explanation.client_id),
            document_id=_id(explanation.document_id),
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
    return None if element is None else show_element(element)


class MismatchFile:
    """Every mismatch as a line of canonical Extended JSON, with the values as they are.

    The file appears as a whole when the verification has finished, and not if it fails.
    """

    def __init__(self, path: Path) -> None:
        """Open a temporary file beside the path.

        Raises:
            UnusablePlace, WriteFailed, TargetBusy: the file cannot be created.
        """
        check_usable(str(path), path)
        self._output = open_output(str(path), path, compressed=is_gzip(path.name), overwrite=True)
        self._is_whole = False
        self.failure: WriteFailed | None = None
        """Why the file cannot be written; None: it can. A verification continues without it."""

    def write(self, mismatch: Mismatch) -> None:
        """Add one mismatch, as long as the file can be written."""
        if self.failure is None:
            with self._noting_failure():
                self._output.write(to_json(_document(mismatch)).encode() + b"\n")

    def finish(self) -> None:
        """Publish the file under its name after the last mismatch, if all could be written."""
        if self.failure is None:
            with self._noting_failure():
                self._output.seal()
                self._output.publish()
                self._is_whole = True

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except WriteFailed as error:
            self.failure = error
            self._output.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove a file that is not whole."""
        if not self._is_whole:
            self._output.abandon()


def _document(mismatch: Mismatch) -> bytes:
    parts = [
        element_of("kind", mismatch.kind.value),
        element_of("rule", mismatch.rule.value),
        _carried("client_id", element_of("", mismatch.client_id)),
        _carried("booking_id", element_of("", mismatch.booking_id)),
        _text("field", mismatch.field),
        # A value that is not there has no field, for null is a value.
        *([] if mismatch.expected is None else [_carried("expected", mismatch.expected)]),
        *([] if mismatch.found is None else [_carried("found", mismatch.found)]),
        _text("detail", mismatch.detail),
    ]
    return wrap(parts)


def _carried(name: str, element: Element) -> Element:
    """Return a value under another name; one that Extended JSON cannot hold as the BSON of a document of that field."""
    named: Element = element._replace(name=name.encode())
    alone = wrap([named])
    return named if survives_extended_json(alone) else element_of(name, Binary(alone))


def _text(name: str, value: Any) -> Element:
    """Return a text without surrogate escapes: a field's name need not be UTF-8."""
    return element_of(name, value if value is None else value.encode("utf-8", "backslashreplace").decode())
