"""Reports made by hand, for the tests of the renderers."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

from booking_migrate.audit.findings import AuditOutcome, Confidence, Rule, Skipped
from booking_migrate.audit.findings import Finding as CodeFinding
from booking_migrate.domain.rejection import Reason
from booking_migrate.errors import ExitCode
from booking_migrate.reports.audit import AuditReport, report_of_audit
from booking_migrate.reports.model import (
    ErrorReport,
    NextStep,
    Report,
    report_of_migration,
)
from booking_migrate.runs.plan import (
    Counts,
    Finding,
    MigrationOutcome,
    RejectedMoney,
    RejectedValue,
    RejectionGroup,
)

AnyReport = TypeVar("AnyReport", bound=Report)
RUN_ID = "20261123T151100Z-ab12cd"
HOSTILE = "<script>alert('x')</script>[bold red]\x1b[2J\x00\ud800\u202e|`*]]>"


def clean() -> Report:
    """A migration in which all went well."""
    outcome = MigrationOutcome(
        counts=Counts(scanned=403, migrated=403, clients=40, sessions=403),
        rejections=(),
        spent={"USD": Decimal("14421.35"), "INR": Decimal(1043500)},
        documents_written=40,
        seconds=0.4,
    )
    return _migration(outcome)


def rejected() -> Report:
    """A migration with rejected bookings, findings, and everything else that a report may hold."""
    outcome = MigrationOutcome(
        counts=Counts(
            scanned=1_000_403,
            migrated=998_000,
            already_migrated=2_388,
            rejected=15,
            clients=100_040,
            sessions=1_000_388,
            client_documents=12,
        ),
        rejections=(
            RejectionGroup(
                Reason.CURRENCY_NOT_ALLOWED,
                9,
                _ids("a", 5),
                (RejectedValue("currency", "'inr'", 7), RejectedValue("currency", "'₹'", 2)),
                ("currency",),
            ),
            RejectionGroup(Reason.CLIENT_ID_MISSING, 4, _ids("b", 4)),
            RejectionGroup(Reason.EXPERT_NOT_FOUND, 2, _ids("c", 2)),
        ),
        spent={
            "EUR": Decimal("8123456.5"),
            "INR": Decimal("98765432101.123456789"),
            "USD": Decimal("-12.30"),
        },
        findings=(
            Finding(
                "client-fields-disagree",
                "clients whose bookings name different emails",
                3,
                _ids("d", 3),
                "The last booking's fields were taken.",
            ),
        ),
        rejected_money=RejectedMoney({"INR": Decimal("1499.00"), "inr": Decimal(20)}, 2),
        documents_written=100_000,
        documents_changed=40,
        seconds=185.2,
        rejects_name="bookings_consolidated.rejected.jsonl",
    )
    steps = (
        NextStep(text="Look at the rejected bookings, each with its reasons.", command="less rejected.jsonl"),
        NextStep(
            text="Or let a rule pass: give the same command again with", command="--accept email-invalid"
        ),
    )
    return at_a_time(_migration(outcome, *steps))


def at_a_time(report: AnyReport) -> AnyReport:
    """A report with the circumstances under which its command ran."""
    return report.model_copy(
        update={
            "database": "shop",
            "host": "a.example.org:27017,b.example.org:27017",
            "started_at": datetime(2026, 11, 23, 15, 11, tzinfo=UTC),
            "ended_at": datetime(2026, 11, 23, 15, 14, 5, tzinfo=UTC),
            "options": {"accept": "email-invalid, price-negative", "workers": "4", "follow": "false"},
        }
    )


def failed() -> Report:
    """A command that was refused."""
    error = ErrorReport(
        kind="BrokenDocument",
        message="bookings.jsonl, line 12: no JSON document",
        hint="Nothing was written. Fix the file, or export it again.",
    )
    return Report(
        error=error,
        command="migrate",
        run_id=RUN_ID,
        source="bookings.jsonl",
        target="clients.jsonl",
        exit_code=ExitCode.REFUSED,
    )


def hostile() -> Report:
    """A migration whose data tries to break the report: markup, control characters, a megabyte in one id."""
    outcome = MigrationOutcome(
        counts=Counts(scanned=2, rejected=2),
        rejections=(
            RejectionGroup(
                Reason.EMAIL_INVALID,
                2,
                (HOSTILE, "x" * 1_000_000),
                (RejectedValue(HOSTILE, HOSTILE, 1), RejectedValue(HOSTILE, "x" * 1_000_000, 1)),
            ),
        ),
        spent={HOSTILE: Decimal(1)},
        rejected_money=RejectedMoney({HOSTILE: Decimal(1)}),
        findings=(Finding("a-kind", HOSTILE, 1, (HOSTILE,), HOSTILE),),
        rejects_name=HOSTILE,
    )
    return _migration(outcome, NextStep(text=HOSTILE, command=HOSTILE))


def _migration(outcome: MigrationOutcome, *steps: NextStep) -> Report:
    return report_of_migration(
        outcome, run_id=RUN_ID, source="bookings.jsonl", target="bookings_consolidated", next_steps=steps
    )


def _ids(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"{letter * 8}0000000000{number:06}" for number in range(count))


def audited() -> AuditReport:
    """An audit that found places of every confidence, and a file that it could not read."""
    places = (
        (
            "src/list.js",
            (3, 7),
            Rule.QUERY,
            Confidence.CERTAIN,
            "status",
            "sessions.status",
            "find({ status })",
        ),
        (
            "src/list.js",
            (9, 21),
            Rule.FIELD,
            Confidence.LIKELY,
            "_id",
            "sessions[].sessionId",
            f"row._id // {HOSTILE}",
        ),
        (
            "src/pay.js",
            (1, 2),
            Rule.REFERENCE,
            Confidence.LOOK,
            "itemId",
            "sessions[].legacyBookingId",
            "itemId: id",
        ),
    )
    outcome = AuditOutcome(
        findings=tuple(
            CodeFinding(path, at, rule, confidence, old, new, f"use {new}", text, f"{number:016x}")
            for number, (path, at, rule, confidence, old, new, text) in enumerate(places)
        ),
        known_count=2,
        suppressed_count=1,
        skipped=(Skipped("src/broken.py", "line 1 cannot be parsed: invalid syntax"),),
        file_count=12,
    )
    return report_of_audit(outcome, run_id=RUN_ID, paths=["src"], seconds=0.3)
