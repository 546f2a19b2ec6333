"""Reports of dry-runs made by hand, for the tests of the renderers."""

from decimal import Decimal

from booking_migrate.domain.rejection import Reason
from booking_migrate.dry_run.outcome import (
    Bar,
    Blocker,
    CutoverNeeds,
    Distributions,
    DryRunOutcome,
    Gains,
    LargeClient,
    MissingPrivilege,
    Mode,
    Needs,
    Reference,
    Sample,
    SampleKind,
    TimeEstimate,
)
from booking_migrate.reports.model import NextStep
from booking_migrate.reports.model_dry_run import DryRunReport, report_of_dry_run
from booking_migrate.runs.plan import (
    Counts,
    Finding,
    MigrationOutcome,
    RejectedMoney,
    RejectedValue,
    RejectionGroup,
)
from booking_migrate.stores.destination import Disk, ServerFacts, Topology
from booking_migrate.stores.privilege import Privilege
from tests.support.sample_reports import HOSTILE, RUN_ID, at_a_time

MIB = 1 << 20


def ready() -> DryRunReport:
    """A dry-run of a file in which all is well."""
    outcome = DryRunOutcome(
        migration=MigrationOutcome(
            counts=Counts(scanned=403, migrated=403, clients=40, sessions=403),
            rejections=(),
            spent={"INR": Decimal(1_043_500)},
            documents_written=40,
            seconds=0.4,
        ),
        estimate=TimeEstimate(0.64, 1007.5, "403 bookings were read and converted in 0.4 s just now"),
        gains=Gains(403, 40, 161_000, 170_000, largest_document=12_900, limit=8 * MIB),
    )
    return _report(outcome)


def eventful() -> DryRunReport:
    """A dry-run of a large collection with everything that a report may hold."""
    return at_a_time(_report(_eventful()))


def blocked() -> DryRunReport:
    """A sample of the same, with blockers."""
    before = _eventful()
    blockers = (
        Blocker(
            "TargetInOldShape",
            "clients holds a document that is not a client document: 7",
            "Are they swapped?",
        ),
        Blocker(
            "DiskTooSmall", "the target will take about 9 bytes, and the server's disk has 8", "Enlarge it."
        ),
    )
    return _report(
        DryRunOutcome(
            migration=before.migration,
            estimate=before.estimate,
            gains=before.gains,
            needs=before.needs,
            blockers=blockers,
            sampled=50_000,
        )
    )


def hostile() -> DryRunReport:
    """A dry-run whose data tries to break the report."""
    bars = (Bar(HOSTILE, 3), Bar("x" * 1_000_000, 1))
    outcome = DryRunOutcome(
        migration=MigrationOutcome(
            counts=Counts(scanned=2, rejected=2),
            rejections=(RejectionGroup(Reason.EMAIL_INVALID, 2, (HOSTILE, "x" * 1_000_000)),),
            spent={HOSTILE: Decimal(1)},
            findings=(Finding("a-kind", HOSTILE, 1, (HOSTILE,), HOSTILE),),
        ),
        estimate=TimeEstimate(1, 1, HOSTILE),
        gains=Gains(),
        blockers=(Blocker("AnError", HOSTILE, HOSTILE),),
        largest_clients=(LargeClient(HOSTILE, 1, 1), LargeClient("x" * 1_000_000, 1, 1)),
        references=(Reference(HOSTILE, HOSTILE, 2, 1),),
        samples=(Sample(SampleKind.REJECTED, HOSTILE, HOSTILE, (f"{HOSTILE}\n{HOSTILE}",), None),),
        distributions=Distributions(bars, bars, bars, bars, bars),
    )
    return _report(outcome)


def _eventful() -> DryRunOutcome:
    return DryRunOutcome(
        migration=MigrationOutcome(
            counts=Counts(1_000_403, 998_000, 2_388, 15, 100_040, 1_000_388, 12),
            rejections=(
                RejectionGroup(
                    Reason.CURRENCY_NOT_ALLOWED,
                    9,
                    _ids("a", 5),
                    (RejectedValue("currency", "'inr'", 7), RejectedValue("currency", "'₹'", 2)),
                ),
                RejectionGroup(
                    Reason.CLIENT_ID_MISSING, 6, _ids("b", 5), (RejectedValue("clientId", "absent", 6),)
                ),
            ),
            rejected_money=RejectedMoney({"INR": Decimal("1499.00")}, 2),
            spent={"EUR": Decimal("8123456.5"), "INR": Decimal("98765432101.12")},
            findings=(
                Finding(
                    "booked-twice",
                    "bookings that look booked twice",
                    1_204,
                    _ids("d", 5),
                    "Cancel the doubles.",
                ),
                Finding(
                    "indexes-lost",
                    "indexes that the new shape does not have",
                    1,
                    ("by_expert",),
                    "Make them anew.",
                ),
            ),
            documents_written=100_000,
            documents_changed=40,
            seconds=35.2,
        ),
        estimate=TimeEstimate(56.3, 28_400, "1,000,403 bookings were read and converted in 35.2 s just now"),
        samples=(
            Sample(SampleKind.TYPICAL, "", "c" * 24, ("{\n  _id: 1\n}", "{\n  _id: 2\n}"), "{\n  _id: 3\n}"),
            Sample(
                SampleKind.REJECTED, "Rejected: currency-not-allowed, currency is '₹'", None, ("{}",), None
            ),
        ),
        gains=Gains(
            1_000_403,
            100_040,
            450 * MIB,
            480 * MIB,
            96 * MIB,
            9 * MIB,
            190 * MIB,
            largest_document=5 * MIB,
            limit=8 * MIB,
        ),
        needs=_needs(),
        largest_clients=(
            LargeClient("c" * 24, 12_400, 9 * MIB),
            LargeClient("d" * 24, 7_100, 5 * MIB),
            LargeClient("e" * 24, 900, MIB // 2),
        ),
        references=(Reference("payments", "bookingId", 200, 198),),
        distributions=Distributions(
            sessions_per_client=(Bar("1", 20_000), Bar("2", 15_000), Bar("3-5", 41_000), Bar("6-10", 24_040)),
            document_sizes=(
                Bar("to 2 KiB", 60_000),
                Bar("to 4 KiB", 40_039),
                Bar("over 8 MiB", 1, is_over=True),
            ),
            bookings_by_month=tuple(
                Bar(f"{2023 + month // 12}-{month % 12 + 1:02}", 20_000 + 1_500 * (month % 7))
                for month in range(30)
            ),
            bookings_by_status=(Bar("completed", 700_403), Bar("pending", 200_000), Bar("no-show", 100_000)),
            bookings_by_payment_status=(Bar("paid", 900_000), Bar("pending", 100_403)),
        ),
    )


def _needs() -> Needs:
    return Needs(
        database="shop",
        server=ServerFacts("6.0.5", Topology.REPLICA_SET),
        modes=(
            Mode("side by side", possible=True, note="any server"),
            Mode("in place", possible=False, note="a view"),
        ),
        missing_privileges=(
            MissingPrivilege("migrate", Privilege("insert", "bookings_consolidated")),
            MissingPrivilege("cutover", Privilege("dbHash", "")),
        ),
        has_source_index=True,
        has_unique_index=False,
        disk=Disk(64 << 30, 20 << 30),
        target_bytes=199 * MIB,
        archive_bytes=210 * MIB,
        oplog_seconds=93_600,
        cutover=CutoverNeeds(
            is_followed=False,
            reason="it takes a replica set",
            changes_per_second=None,
            outage_seconds=96.0,
            basis="everything is read again while writes are refused",
        ),
    )


def _report(outcome: DryRunOutcome) -> DryRunReport:
    return report_of_dry_run(
        outcome,
        run_id=RUN_ID,
        source="bookings",
        target="bookings_consolidated",
        rejects="rejected.jsonl" if outcome.migration.counts.rejected else None,
        next_steps=(NextStep(text="Or add", command="--accept currency-not-allowed"),),
    )


def _ids(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"{letter * 8}0000000000{number:06}" for number in range(count))
